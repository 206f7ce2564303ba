_base_ = [
    '../_base_/models/cmid_resnet50.py',
    '../_base_/datasets/millionaid.py',
    '../_base_/schedules/cmid_adan_200e.py',
    '../_base_/default_runtime.py',
]

model = dict(data_preprocessor=_base_.statistics)
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
