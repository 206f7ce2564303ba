# A short training on few images, measured beside others in docs/results.md: RSSCN7's 1,400 images, shrunk to 128 x 128
# pixels, and 13 minutes of one processor core. Against the config for folders, for but 600 steps: small crops that
# still show what a scene is of, small batches, a higher learning rate, a sharper teacher, and one that follows within
# the training (it is the network to use).
_base_ = [
    '../_base_/models/dino-mc_resnet18.py',
    '../_base_/datasets/multi_size_crops_milder_224px.py',
    '../_base_/schedules/dino_adamw_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/rsscn7_128'
statistics = dict(mean=[102.69, 105.39, 97.56], std=[53.86, 47.63, 48.00])
model = dict(data_preprocessor=statistics, teacher_temperature=0.015)
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
                global_size=48,
                local_sizes=(32, 32, 24),
                local_scale=(0.1, 0.4),
                global_jitter=(0.2, 0.2, 0.1, 0.03),
                local_jitter=(0.2, 0.2, 0.1, 0.03),
                gray_prob=0.05,
                solarize_prob=0.0,
            ),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)

optim_wrapper = dict(optimizer=dict(lr=8e-3))
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=1 / 14, start_factor=1e-12, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=1 / 14, eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingWeightDecay', eta_min=0.1, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=14)
custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.ClipEachGradientHook', max_norm=3.0),
    dict(type='mmrs_ssl.FreezeHook', path='head.last_layer', epochs=1),
    dict(type='mmrs_ssl.TeacherUpdateHook'),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.ScheduleHook', path='teacher.momentum', start=0.98, end=0.99),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=7))
