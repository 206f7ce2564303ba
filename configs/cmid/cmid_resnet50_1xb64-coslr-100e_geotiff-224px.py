# Your own GeoTIFFs. The number of bands is that of the statistics: tools/band_stats.py my/scenes --out stats.json, then
# --cfg-options data_root=my/scenes statistics=stats.json
_base_ = [
    '../_base_/models/cmid_resnet50.py',
    '../_base_/datasets/geotiff.py',
    '../_base_/schedules/cmid_adan_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(data_preprocessor=_base_.statistics, global_head=dict(queue_length=4096))
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
