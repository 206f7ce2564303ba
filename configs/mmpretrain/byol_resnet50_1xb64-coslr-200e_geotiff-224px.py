# Your own GeoTIFFs: tools/band_stats.py my/scenes --out stats.json, then --cfg-options data_root=my/scenes
# statistics=stats.json, and there are as many bands as it has entries
_base_ = [
    '../_base_/models/byol_resnet50.py',
    '../_base_/datasets/geotiff_contrast_views.py',
    '../_base_/schedules/byol_lars_200e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(data_preprocessor=_base_.statistics, backbone=dict(in_channels=4))
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None),
            dict(type='mmrs_ssl.RandomFlip'),
            dict(type='mmrs_ssl.RandomRotate90'),
            dict(
                type='mmrs_ssl.ContrastViews',
                size=224,
                scale=(0.08, 1.0),
                colors=False,
                blur_prob=(1.0, 0.1),
                solarize_prob=(0.0, 0.2),
            ),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)
short_names = dict(
    bands=['model.backbone.in_channels', 'train_dataloader.dataset.pipeline.LoadRaster.bands'],
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
