# HR-Pairs: orthophoto and surface height of one place, patch/*_dom.tif with patch/*_dsm.tif
_base_ = 'modalities.py'

data_root = 'data/hr_pairs'
statistics = dict(
    modalities=dict(
        rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
        dsm=dict(mean=[6.0], std=[6.0]),
    )
)
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        files=dict(rgb='{scene}_dom', dsm='{scene}_dsm'),
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(
                    rgb=dict(bands=3, nodata=0),
                    dsm=dict(bands=1, nodata=-9999, height='above_minimum'),
                ),
            ),
            dict(type='mmrs_ssl.RandomFlip', prob=0.5),
            dict(type='mmrs_ssl.RandomCropResize', size=320, scale=(0.8, 1.0), prob=0.5, flip_prob=0),
            dict(type='mmrs_ssl.ColorJitter', brightness=0.2, contrast=0.2, hue=0.2, prob=0.5, modality='rgb'),
            dict(type='mmrs_ssl.PackModalities'),
        ],
    )
)
