_base_ = 'cmid_resnet50.py'

model = dict(
    neck=dict(
        _delete_=True,
        type='NonLinearNeck',
        hid_channels=2048,
        out_channels=256,
        with_last_bn=False,
        with_last_bias=True,
    ),
    global_head=dict(
        _delete_=True,
        type='mmrs_ssl.PredictionHead',
        predictor=dict(
            type='NonLinearNeck',
            hid_channels=512,
            with_avg_pool=False,
            with_last_bn=False,
            with_last_bias=True,
        ),
    ),
)
