# lr for 64 images: 0.05 for 256, as published. The predictor's stays what the hook says: nothing scales it
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.0125, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'predictor': dict(fix_lr=True)}),
)

# the warm-up is a share of the training, and the cosine ends with it, whatever train_cfg.max_epochs says; here none
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=0.0, start_factor=0.01, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=0.0, eta_min=0.0, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)

custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=0.0125, adjust_by_epoch=False),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.PictureHook', interval=2000),
]
