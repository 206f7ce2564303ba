# a mean and a std for each band come from the data set: model = dict(data_preprocessor=_base_.statistics)
model = dict(
    type='mmrs_ssl.CMID',
    data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor'),
    backbone=dict(type='ResNet', depth=50),
    neck=dict(type='MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=256),
    global_head=dict(type='mmrs_ssl.QueueContrastHead'),
    local_head=dict(type='mmrs_ssl.PrototypeHead', in_channels=2048, batch_norm=True),
    reconstruction_head=dict(type='mmrs_ssl.PixelReconstructionHead', in_channels=2048),
)
