_base_ = [
    '../_base_/models/upernet_vit-base-rgb-dsm.py',
    '../_base_/datasets/potsdam_rgb_ndsm.py',
    '../_base_/schedules/adamw_80k.py',
    'mmseg::_base_/default_runtime.py',
]

model = dict(decode_head=dict(num_classes=6), auxiliary_head=dict(num_classes=6))
