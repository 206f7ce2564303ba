_base_ = 'cmid_adan_200e.py'

param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=10 / 400, start_factor=0.01, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=400)
