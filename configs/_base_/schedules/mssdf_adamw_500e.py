# lr for 256 images: the published run used a batch of 512
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmrs_ssl.StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
auto_scale_lr = dict(base_batch_size=256, enable=True)

# the warm-up is a share of the training, and the cosine ends with it, whatever train_cfg.max_epochs says
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=40 / 500, start_factor=1e-12, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=40 / 500, eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=500)

custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.TeacherUpdateHook'),
    dict(type='mmrs_ssl.TeacherMomentumHook', start=0.996, end=1.0),
    dict(
        type='mmrs_ssl.ScheduleHook',
        path='masking.substitution',
        schedule='step',
        start=0.1,
        end=0.7,
        every=10,
        rise=0.1,
        by_epoch=True,
    ),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.GradientShareHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.PictureHook', interval=2000),
]
