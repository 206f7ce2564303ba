_base_ = [
    '../_base_/models/siam-upernet_vit-base.py',
    '../_base_/datasets/change_pairs.py',
    '../_base_/change_runtime.py',
]
