_base_ = [
    '../_base_/models/siam-upernet_vit-base.py',
    '../_base_/datasets/second_binary.py',
    '../_base_/change_runtime.py',
]
