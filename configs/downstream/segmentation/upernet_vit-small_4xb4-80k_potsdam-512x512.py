_base_ = [
    '../_base_/models/upernet_vit-small.py',
    'mmseg::_base_/datasets/potsdam.py',
    '../_base_/schedules/adamw_80k.py',
    'mmseg::_base_/default_runtime.py',
]

model = dict(decode_head=dict(num_classes=6), auxiliary_head=dict(num_classes=6))
