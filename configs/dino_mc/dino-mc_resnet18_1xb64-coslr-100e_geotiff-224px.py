# Your own GeoTIFFs. The number of bands is that of mean and std; tools/band_stats.py prints these lines for your data
_base_ = [
    '../_base_/models/dino-mc_resnet18.py',
    '../_base_/datasets/geotiff_multi_size.py',
    '../_base_/schedules/dino_adamw_300e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(
    data_preprocessor=dict(
        mean=[114.0, 116.0, 103.0, 124.0],
        std=[40.0, 35.0, 31.0, 44.0],
    ),
)
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(enable=True)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
