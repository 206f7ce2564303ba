_base_ = [
    '../_base_/models/mssdf_vit-base.py',
    '../_base_/datasets/hr_pairs.py',
    '../_base_/schedules/mssdf_adamw_500e.py',
    '../_base_/default_runtime.py',
]

model = dict(data_preprocessor=_base_.statistics)
optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=1.0)
