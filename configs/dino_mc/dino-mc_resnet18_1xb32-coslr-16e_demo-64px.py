# The demo: generated scenes of 96 x 96 pixels, minutes on two processor cores. Everything is sized to 400 steps on 800
# small images: head, crops that still show what a scene is of, milder colors, a higher learning rate, and a teacher
# that follows within the training (it is the network that is evaluated).
_base_ = [
    '../_base_/models/dino-mc_resnet18.py',
    '../_base_/datasets/multi_size_crops_224px.py',
    '../_base_/schedules/dino_adamw_300e.py',
    '../_base_/default_runtime.py',
]

data_root = 'work_dirs/demo/scenes'
model = dict(
    data_preprocessor=_base_.statistics,
    backbone=dict(zero_init_residual=False),
    head=dict(num_prototypes=256),
    teacher_temperature=0.02,
)
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(
                type='mmrs_ssl.MultiSizeCrops',
                global_size=64,
                local_sizes=(48, 40, 32),
                local_scale=(0.1, 0.4),
                local_jitter=(0.4, 0.4, 0.2, 0.1),
            ),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)

optim_wrapper = dict(optimizer=dict(lr=8e-3))
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=1 / 16, start_factor=1e-12, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=1 / 16, eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingWeightDecay', eta_min=0.1, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=16)
auto_scale_lr = dict(enable=True)
custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.ClipEachGradientHook', max_norm=3.0),
    dict(type='mmrs_ssl.FreezeHook', path='head.last_layer', epochs=1),
    dict(type='mmrs_ssl.TeacherUpdateHook'),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.ScheduleHook', path='teacher.momentum', start=0.98, end=0.99),
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=8))
