# Your own GeoTIFFs: tools/band_stats.py my/scenes --out stats.json, then --cfg-options data_root=my/scenes
# statistics=stats.json, and there are as many bands as it has entries
_base_ = [
    '../_base_/models/simsiam_resnet50.py',
    '../_base_/datasets/geotiff_contrast_views.py',
    '../_base_/schedules/simsiam_sgd_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(data_preprocessor=_base_.statistics, backbone=dict(in_channels=4))
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
short_names = dict(
    lr=['optim_wrapper.optimizer.lr', 'custom_hooks.SimSiamHook.lr'],
    bands=['model.backbone.in_channels', 'train_dataloader.dataset.pipeline.LoadRaster.bands'],
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
