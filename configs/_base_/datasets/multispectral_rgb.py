# Multispectral bands (Sentinel-2 or the like, reflectance in ten-thousandths) and a sharper RGB image of one place;
# both are read onto the grid of the RGB image
_base_ = 'modalities.py'

data_root = 'data/multispectral_rgb'
statistics = dict(
    modalities=dict(
        rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
        ms=dict(mean=[1000.0] * 4 + [2000.0] * 6, std=[700.0] * 4 + [1000.0] * 6),
    )
)
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        files=dict(rgb='{scene}_rgb', ms='{scene}_ms'),
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(
                    rgb=dict(bands=3),
                    ms=dict(bands=10),
                ),
            ),
            dict(type='mmrs_ssl.RandomFlip', prob=0.5),
            dict(type='mmrs_ssl.RandomCropResize', size=320, scale=(0.8, 1.0), prob=0.5, flip_prob=0),
            dict(type='mmrs_ssl.ColorJitter', brightness=0.2, contrast=0.2, hue=0.2, prob=0.5, modality='rgb'),
            dict(type='mmrs_ssl.PackModalities'),
        ],
    )
)
