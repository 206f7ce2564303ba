# Any folder of 8-bit RGB images: --cfg-options data_root=my/images
_base_ = [
    '../_base_/models/dino-mc_resnet18.py',
    '../_base_/datasets/multi_size_crops_224px.py',
    '../_base_/schedules/dino_adamw_300e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(enable=True)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
