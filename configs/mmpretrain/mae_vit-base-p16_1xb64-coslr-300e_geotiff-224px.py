# Your own GeoTIFFs: tools/band_stats.py my/scenes --out stats.json, then --cfg-options data_root=my/scenes
# statistics=stats.json, and there are as many bands as it has entries
_base_ = [
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/geotiff_one_view.py',
    '../_base_/schedules/mae_adamw_300e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(
    data_preprocessor=_base_.statistics,
    backbone=dict(patch_cfg=dict(in_channels=4)),
    neck=dict(in_chans=4),
    head=dict(in_channels=4),
)
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
short_names = dict(
    size=['train_dataloader.dataset.pipeline.RandomCropResize.size', 'model.backbone.img_size', 'model.neck.img_size'],
    bands=[
        'model.backbone.patch_cfg.in_channels',
        'model.neck.in_chans',
        'model.head.in_channels',
        'train_dataloader.dataset.pipeline.LoadRaster.bands',
    ],
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
