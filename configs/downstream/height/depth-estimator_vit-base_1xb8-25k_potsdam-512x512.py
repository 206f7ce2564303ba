_base_ = [
    '../_base_/models/height_vit-base.py',
    '../_base_/datasets/height_512x512.py',
    '../_base_/schedules/height_adamw_25k.py',
    'mmseg::_base_/default_runtime.py',
]

model = dict(decode_head=dict(max_depth=60.0))  # metres; no prediction is above it
