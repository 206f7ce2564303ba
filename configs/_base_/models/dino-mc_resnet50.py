# mean and std of ImageNet (as published with DINO-MC), in the units of 8-bit images; their number is that of the bands
model = dict(
    type='mmrs_ssl.DINOMC',
    data_preprocessor=dict(
        type='mmrs_ssl.BandPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
    backbone=dict(type='ResNet', depth=50, zero_init_residual=False),
    head=dict(type='mmrs_ssl.PrototypeHead', in_channels=2048),
)
sync_bn = 'torch'  # on several GPUs BatchNorm sees all of them; on one device nothing changes
