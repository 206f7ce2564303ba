# Any folder of 8-bit RGB images: --cfg-options data_root=my/images
_base_ = [
    '../_base_/models/cmid_resnet18.py',
    '../_base_/datasets/cmid_views_224px.py',
    '../_base_/schedules/cmid_adan_200e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'
model = dict(global_head=dict(queue_length=4096))  # a queue several times the data set holds every image's old keys
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(enable=True)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
