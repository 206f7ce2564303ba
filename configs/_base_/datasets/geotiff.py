# CMID on any GeoTIFFs, with augmentation per band; what their options are is said in scenes.py
_base_ = 'scenes.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None),
            dict(type='mmrs_ssl.RandomFlip'),
            dict(type='mmrs_ssl.RandomRotate90'),
            dict(type='mmrs_ssl.CMIDViews', size=224, scale=(0.3, 1.0), colors=False),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.CMIDViews.size',
    crops='train_dataloader.dataset.pipeline.CMIDViews.scale',
    jitter='train_dataloader.dataset.pipeline.CMIDViews.jitter',
    gray='train_dataloader.dataset.pipeline.CMIDViews.gray_prob',
    bands='train_dataloader.dataset.pipeline.LoadRaster.bands',
)
