# mean and std of MillionAID (as published with CMID), in the units of 8-bit images; their number is the number of bands
model = dict(
    type='mmrs_ssl.CMID',
    data_preprocessor=dict(
        type='mmrs_ssl.BandPreprocessor',
        mean=[86.18, 91.93, 85.37],
        std=[34.65, 34.48, 35.88],
    ),
    backbone=dict(type='ResNet', depth=50),
    neck=dict(type='MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=256),
    global_head=dict(type='mmrs_ssl.QueueContrastHead'),
    local_head=dict(type='mmrs_ssl.PrototypeHead', in_channels=2048, batch_norm=True),
    reconstruction_head=dict(type='mmrs_ssl.PixelReconstructionHead', in_channels=2048),
)
