# for small data sets on one device, of which a batch is as large as you like
_base_ = 'mssdf_adamw_500e.py'

param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=10 / 100, start_factor=1e-12, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=10 / 100, eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=100)
