_base_ = [
    '../_base_/models/upernet_swin-base.py',
    'mmseg::_base_/datasets/vaihingen.py',
    '../_base_/schedules/adamw_80k.py',
    'mmseg::_base_/default_runtime.py',
]

model = dict(decode_head=dict(num_classes=6), auxiliary_head=dict(num_classes=6))
