_base_ = [
    '../_base_/models/siam-upernet_resnet50.py',
    '../_base_/datasets/oscd.py',
    '../_base_/change_runtime.py',
]
