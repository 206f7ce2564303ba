# mmpretrain's BYOL
projector = dict(
    type='NonLinearNeck',
    in_channels=2048,
    hid_channels=4096,
    out_channels=256,
    with_bias=True,
    with_last_bn=False,
    norm_cfg=dict(type='BN1d'),
)
model = dict(
    type='BYOL',
    base_momentum=0.01,  # weight of the student
    data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor'),
    backbone=dict(type='ResNet', depth=50, in_channels=3, zero_init_residual=False),
    neck=projector,
    head=dict(
        type='LatentPredictHead',
        predictor={**projector, 'in_channels': 256, 'with_avg_pool': False},
        loss=dict(type='CosineSimilarityLoss'),
    ),
)
sync_bn = 'torch'  # as mmpretrain's config: on several GPUs BatchNorm sees all of them
