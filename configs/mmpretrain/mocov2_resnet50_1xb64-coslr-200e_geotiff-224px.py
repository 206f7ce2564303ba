# Your own GeoTIFFs: tools/band_stats.py my/scenes --out stats.json, then --cfg-options data_root=my/scenes
# statistics=stats.json, and there are as many bands as it has entries
_base_ = [
    '../_base_/models/mocov2_resnet50.py',
    '../_base_/datasets/geotiff_contrast_views.py',
    '../_base_/schedules/mocov2_sgd_200e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(
    data_preprocessor=_base_.statistics,
    queue_len=4096,  # of a small data set; a multiple of the batch
    backbone=dict(in_channels=4),
)
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
short_names = dict(
    bands=['model.backbone.in_channels', 'train_dataloader.dataset.pipeline.LoadRaster.bands'],
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
