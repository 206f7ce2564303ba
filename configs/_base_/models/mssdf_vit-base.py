# Statistics of every modality in the units of its raster: 8-bit colors, metres above the window's lowest point. The
# first one's patch embedding is the backbone's. tools/band_stats.py prints those of your data.
model = dict(
    type='mmrs_ssl.MSSDF',
    data_preprocessor=dict(
        type='mmrs_ssl.ModalityPreprocessor',
        modalities=dict(
            rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
            dsm=dict(mean=[6.0], std=[6.0]),
        ),
    ),
    backbone=dict(
        type='VisionTransformer',
        arch='base',
        img_size=320,
        patch_size=16,
        patch_cfg=dict(padding=0),
        out_type='featmap',
    ),
)
