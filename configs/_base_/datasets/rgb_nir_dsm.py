# Orthophoto, color-infrared image and surface height of one place; grids and resolutions may differ, all are read onto
# that of the first
_base_ = 'modalities.py'

data_root = 'data/rgb_nir_dsm'
statistics = dict(
    modalities=dict(
        rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
        irc=dict(mean=[123.675, 123.675, 116.28], std=[58.395, 58.395, 57.12]),
        dsm=dict(mean=[6.0], std=[6.0]),
    )
)
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        files=dict(rgb='{scene}_rgb', irc='{scene}_irc', dsm='{scene}_dsm'),
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(
                    rgb=dict(bands=3),
                    irc=dict(bands=3),
                    dsm=dict(bands=1, height='above_minimum'),
                ),
            ),
            dict(type='mmrs_ssl.RandomFlip', prob=0.5),
            dict(type='mmrs_ssl.RandomCropResize', size=320, scale=(0.8, 1.0), prob=0.5, flip_prob=0),
            dict(type='mmrs_ssl.ColorJitter', brightness=0.2, contrast=0.2, hue=0.2, prob=0.5, modality='rgb'),
            dict(type='mmrs_ssl.PackModalities'),
        ],
    )
)
