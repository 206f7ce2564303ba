# a mean and a std for each band come from the data set: model = dict(data_preprocessor=_base_.statistics)
# sizes of neck and heads follow the backbone
model = dict(
    type='mmrs_ssl.CMID',
    data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor'),
    backbone=dict(type='ResNet', depth=50),
    neck=dict(type='MoCoV2Neck', hid_channels=2048, out_channels=256),
    global_head=dict(type='mmrs_ssl.QueueContrastHead'),
    local_head=dict(type='mmrs_ssl.PrototypeHead', batch_norm=True),
    reconstruction_head=dict(type='mmrs_ssl.PixelReconstructionHead'),
)
sync_bn = 'torch'  # on several GPUs BatchNorm sees all of them; on one device nothing changes
