# DINO-MC on a folder of images: two crops of 224 pixels and six of 184 to 84
_base_ = 'images.py'

# of ImageNet, as published with DINO-MC, in the units of 8-bit images
statistics = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.MultiSizeCrops', global_size=224, local_sizes=(184, 164, 144, 124, 104, 84)),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.MultiSizeCrops.global_size',
    crops='train_dataloader.dataset.pipeline.MultiSizeCrops.local_sizes',
    jitter=[
        'train_dataloader.dataset.pipeline.MultiSizeCrops.global_jitter',
        'train_dataloader.dataset.pipeline.MultiSizeCrops.local_jitter',
    ],
    gray='train_dataloader.dataset.pipeline.MultiSizeCrops.gray_prob',
)
