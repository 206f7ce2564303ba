# Your own GeoTIFFs: tools/band_stats.py my/scenes --out stats.json, then --cfg-options data_root=my/scenes
# statistics=stats.json, and there are as many bands as it has entries
_base_ = [
    '../_base_/models/simmim_swin-base.py',
    '../_base_/datasets/geotiff_one_view.py',
    '../_base_/schedules/simmim_adamw_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(
    data_preprocessor=_base_.statistics,
    backbone=dict(in_channels=4),
    neck=dict(bands=4),
    head=dict(loss=dict(channel=4)),
)
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None),
            dict(type='mmrs_ssl.RandomFlip'),
            dict(type='mmrs_ssl.RandomRotate90'),
            dict(type='mmrs_ssl.RandomCropResize', size=224, scale=(0.67, 1.0)),
            dict(type='SimMIMMaskGenerator', input_size=224, mask_patch_size=32, model_patch_size=4, mask_ratio=0.6),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)
short_names = dict(
    size=[
        'train_dataloader.dataset.pipeline.RandomCropResize.size',
        'train_dataloader.dataset.pipeline.SimMIMMaskGenerator.input_size',
        'model.backbone.img_size',
    ],
    bands=[
        'model.backbone.in_channels',
        'model.neck.bands',
        'model.head.loss.channel',
        'train_dataloader.dataset.pipeline.LoadRaster.bands',
    ],
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
