_base_ = [
    '../_base_/models/classifier_vit-small.py',
    '../_base_/datasets/eurosat.py',
    '../_base_/schedules/linear_sgd_100e.py',
]

model = dict(backbone=dict(frozen_stages=12, drop_path_rate=0.0), head=dict(num_classes=10))
