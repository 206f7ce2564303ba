# lr for 256 images; bfloat16, since float16 is known to diverge with patches of 8 pixels
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmrs_ssl.StudentOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.04, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
auto_scale_lr = dict(base_batch_size=256)

# The warm-up begins at 0, which mmengine does not accept. It is a share of the training, and the cosines end with it,
# whatever train_cfg.max_epochs says.
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=10 / 300, start_factor=1e-12, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=10 / 300, eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingWeightDecay', eta_min=0.4, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300)

custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.ClipEachGradientHook', max_norm=3.0),
    dict(type='mmrs_ssl.FreezeHook', path='head.last_layer', epochs=1),
    dict(type='mmrs_ssl.TeacherUpdateHook'),
    dict(type='mmrs_ssl.TeacherMomentumHook', start=0.996, end=1.0),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
]
