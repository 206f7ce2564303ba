# the modalities and their statistics come from the data set: model = dict(data_preprocessor=_base_.statistics)
model = dict(
    type='mmrs_ssl.MSSDF',
    data_preprocessor=dict(type='mmrs_ssl.ModalityPreprocessor'),
    backbone=dict(
        type='VisionTransformer',
        arch='base',
        img_size=320,
        patch_size=16,
        patch_cfg=dict(padding=0),
        out_type='featmap',
    ),
)
