# for small data sets on one device, of which a batch is as large as you like
_base_ = 'cmid_adan_200e.py'

auto_scale_lr = dict(enable=True)
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=10 / 100, start_factor=0.01, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=100)
