# Two views of every window of any GeoTIFFs, with augmentation per band; what their options are is said in scenes.py
_base_ = 'scenes.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None),
            dict(type='mmrs_ssl.RandomFlip'),
            dict(type='mmrs_ssl.RandomRotate90'),
            dict(type='mmrs_ssl.ContrastViews', size=224, scale=(0.2, 1.0), colors=False),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.ContrastViews.size',
    crops='train_dataloader.dataset.pipeline.ContrastViews.scale',
    jitter='train_dataloader.dataset.pipeline.ContrastViews.jitter',
    gray='train_dataloader.dataset.pipeline.ContrastViews.gray_prob',
    bands='train_dataloader.dataset.pipeline.LoadRaster.bands',
)
