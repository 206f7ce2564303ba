# Any folder of 8-bit RGB images: --cfg-options data_root=my/images size=128 crops=96,64 epochs=50
_base_ = [
    '../_base_/models/dino-mc_swin-tiny.py',
    '../_base_/datasets/multi_size_crops_milder_224px.py',
    '../_base_/schedules/dino_adamw_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'
model = dict(  # as of dino-mc_resnet18.py
    data_preprocessor=_base_.statistics, head=dict(batch_norm=True), balanced=True
)
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
