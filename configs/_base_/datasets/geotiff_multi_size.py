# DINO-MC on any GeoTIFFs, with augmentation per band; what their options are is said in scenes.py.
# Several dates of a place: dataset.files as in geotiff_temporal.py; one is then drawn at each visit
_base_ = 'scenes.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None),
            dict(type='mmrs_ssl.RandomFlip'),
            dict(type='mmrs_ssl.RandomRotate90'),
            dict(
                type='mmrs_ssl.MultiSizeCrops',
                global_size=224,
                local_sizes=(184, 164, 144, 124, 104, 84),
                colors=False,
            ),
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
    bands='train_dataloader.dataset.pipeline.LoadRaster.bands',
)
