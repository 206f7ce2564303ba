# Any folder of 8-bit RGB images: --cfg-options data_root=my/images size=128 epochs=50
_base_ = [
    '../_base_/models/simsiam_resnet50.py',
    '../_base_/datasets/contrast_views_224px.py',
    '../_base_/schedules/simsiam_sgd_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'
model = dict(data_preprocessor=_base_.statistics)
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
short_names = dict(lr=['optim_wrapper.optimizer.lr', 'custom_hooks.SimSiamHook.lr'])
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
