# Any folder of 8-bit RGB images: --cfg-options data_root=my/images size=128 epochs=50
_base_ = [
    '../_base_/models/cmid_vit-small.py',
    '../_base_/datasets/cmid_views_milder_224px.py',
    '../_base_/schedules/cmid_adan_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'
model = dict(data_preprocessor=_base_.statistics, global_head=dict(queue_length=4096))
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
short_names = dict(size=[_base_.short_names.size, 'model.backbone.img_size'])
