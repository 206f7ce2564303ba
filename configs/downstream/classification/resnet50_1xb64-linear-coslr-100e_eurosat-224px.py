_base_ = [
    '../_base_/models/classifier_resnet50.py',
    '../_base_/datasets/eurosat.py',
    '../_base_/schedules/linear_sgd_100e.py',
]

model = dict(backbone=dict(frozen_stages=4), head=dict(num_classes=10))
