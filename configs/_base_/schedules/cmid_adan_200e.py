# lr for 256 images: the public runs used 64 on each of 4 GPUs
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmrs_ssl.StudentOptimWrapperConstructor',
    optimizer=dict(type='mmrs_ssl.BlockAdan', lr=4e-3, weight_decay=0.02),
    # no decay of biases and vectors, but of the mask token
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(mask_token=dict(decay_mult=1.0)),
    ),
)
auto_scale_lr = dict(base_batch_size=256)

# The warm-up is a share of the training, and multiplies a cosine that runs from its first step to its last, whatever
# train_cfg.max_epochs says.
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=10 / 200, start_factor=0.01, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200)

custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.TeacherUpdateHook'),
    dict(type='mmrs_ssl.TeacherMomentumHook', start=0.996, end=1.0),
    dict(
        type='mmrs_ssl.ScheduleHook',
        path='teacher_temperature',
        schedule='linear',
        start=0.04,
        end=0.07,
        length=50,
        by_epoch=True,
    ),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.PictureHook', interval=2000),
]
