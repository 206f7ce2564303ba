_base_ = [
    '../_base_/models/dino-mc_wide-resnet50.py',
    '../_base_/datasets/seco_multi_size.py',
    '../_base_/schedules/dino_adamw_300e.py',
    '../_base_/default_runtime.py',
]

model = dict(data_preprocessor=_base_.statistics, head=dict(num_prototypes=65536), teacher_temperature=0.04)
optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=1.0)
