# Your own GeoTIFFs. The number of bands is that of the statistics: tools/band_stats.py my/scenes --out stats.json, then
# --cfg-options data_root=my/scenes statistics=stats.json
_base_ = [
    '../_base_/models/dino-mc_vit-small.py',
    '../_base_/datasets/geotiff_multi_size.py',
    '../_base_/schedules/dino_adamw_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(  # as of dino-mc_resnet18.py
    data_preprocessor=_base_.statistics, head=dict(batch_norm=True), balanced=True
)
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
short_names = dict(size=[_base_.short_names.size, 'model.backbone.img_size'])
