# lr for 4096 images, as published
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='LARS', lr=4.8, momentum=0.9, weight_decay=1e-6),
    paramwise_cfg=dict(
        custom_keys={
            'bn': dict(decay_mult=0, lars_exclude=True),
            'bias': dict(decay_mult=0, lars_exclude=True),
            'downsample.1': dict(decay_mult=0, lars_exclude=True),  # BatchNorm of ResNet's shortcuts
        }
    ),
)
auto_scale_lr = dict(base_batch_size=4096, enable=True)

# the warm-up is a share of the training, and the cosine ends with it, whatever train_cfg.max_epochs says
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=10 / 200, start_factor=1e-4, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=10 / 200, eta_min=0.0, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200)

custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.PictureHook', interval=2000),
]
