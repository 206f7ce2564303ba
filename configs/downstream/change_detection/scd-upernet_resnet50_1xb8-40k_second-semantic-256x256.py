_base_ = [
    '../_base_/models/scd-upernet_resnet50.py',
    '../_base_/datasets/second_semantic.py',
    '../_base_/change_runtime.py',
]
