# One crop of every window of any GeoTIFFs; what their options are is said in scenes.py
_base_ = 'scenes.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None),
            dict(type='mmrs_ssl.RandomFlip'),
            dict(type='mmrs_ssl.RandomRotate90'),
            dict(type='mmrs_ssl.RandomCropResize', size=224, scale=(0.2, 1.0)),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
# a config adds to the size what its network has to know of it
short_names = dict(
    size='train_dataloader.dataset.pipeline.RandomCropResize.size',
    crops='train_dataloader.dataset.pipeline.RandomCropResize.scale',
)
