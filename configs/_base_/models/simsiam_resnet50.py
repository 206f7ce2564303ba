# mmpretrain's SimSiam
norm = dict(type='BN1d')
model = dict(
    type='SimSiam',
    data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor'),
    backbone=dict(type='ResNet', depth=50, in_channels=3, zero_init_residual=True),
    neck=dict(
        type='NonLinearNeck',
        in_channels=2048,
        hid_channels=2048,
        out_channels=2048,
        num_layers=3,
        with_last_bn_affine=False,
        norm_cfg=norm,
    ),
    head=dict(
        type='LatentPredictHead',
        loss=dict(type='CosineSimilarityLoss'),
        predictor=dict(
            type='NonLinearNeck',
            in_channels=2048,
            hid_channels=512,
            out_channels=2048,
            with_avg_pool=False,
            with_last_bn=False,
            with_last_bias=True,
            norm_cfg=norm,
        ),
    ),
)
sync_bn = 'torch'  # as mmpretrain's config: on several GPUs BatchNorm sees all of them
