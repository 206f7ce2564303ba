_base_ = [
    '../_base_/models/cmid_resnet50_byol.py',
    '../_base_/datasets/cmid_views_224px.py',
    '../_base_/schedules/cmid_adan_200e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/millionaid/test'
train_dataloader = dict(dataset=dict(data_root=data_root))
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
