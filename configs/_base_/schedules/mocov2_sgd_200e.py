# lr for 256 images, as published
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4))
auto_scale_lr = dict(base_batch_size=256, enable=True)

# the warm-up is a share of the training, and the cosine ends with it, whatever train_cfg.max_epochs says; here none
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=0.0, start_factor=0.01, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=0.0, eta_min=0.0, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200)

custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.PictureHook', interval=2000),
]
