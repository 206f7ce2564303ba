_base_ = [
    '../_base_/models/bit_swin-base.py',
    '../_base_/datasets/svcd.py',
    '../_base_/change_runtime.py',
]
