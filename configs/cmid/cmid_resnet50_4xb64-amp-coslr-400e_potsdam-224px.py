_base_ = [
    '../_base_/models/cmid_resnet50.py',
    '../_base_/datasets/potsdam.py',
    '../_base_/schedules/cmid_adan_200e.py',
    '../_base_/default_runtime.py',
]

optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
train_cfg = dict(max_epochs=400)
