# Your own GeoTIFFs: tools/band_stats.py my/scenes --out stats.json, then --cfg-options data_root=my/scenes
# statistics=stats.json bands=5 (as many as there are statistics of)
_base_ = [
    '../_base_/models/mocov2_resnet50.py',
    '../_base_/datasets/scenes.py',
    '../_base_/schedules/mocov2_sgd_200e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(
    data_preprocessor=_base_.statistics,
    queue_len=4096,  # of a small data set; a multiple of the batch
    backbone=dict(in_channels=4),
)
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=4),
            dict(type='mmrs_ssl.RandomFlip'),
            dict(type='mmrs_ssl.RandomRotate90'),
            dict(type='mmrs_ssl.ContrastViews', size=224, scale=(0.2, 1.0), colors=False),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.ContrastViews.size',
    crops='train_dataloader.dataset.pipeline.ContrastViews.scale',
    bands=['model.backbone.in_channels', 'train_dataloader.dataset.pipeline.LoadRaster.bands'],
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
