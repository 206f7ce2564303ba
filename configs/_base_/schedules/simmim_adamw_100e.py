# lr for 2048 images, as published
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=8e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(
        custom_keys={
            'norm': dict(decay_mult=0.0),
            'bias': dict(decay_mult=0.0),
            'absolute_pos_embed': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
        }
    ),
)
auto_scale_lr = dict(base_batch_size=2048, enable=True)

# the warm-up is a share of the training, and the cosine ends with it, whatever train_cfg.max_epochs says
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=10 / 100, start_factor=5e-3, by_epoch=True, convert_to_iter_based=True),
    dict(
        type='mmrs_ssl.CosineAfterWarmupLR',
        share=10 / 100,
        eta_min_ratio=0.05,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)

custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.PictureHook', interval=2000),
]
