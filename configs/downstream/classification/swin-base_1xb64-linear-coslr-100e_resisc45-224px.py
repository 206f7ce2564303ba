_base_ = [
    '../_base_/models/classifier_swin-base.py',
    '../_base_/datasets/resisc45.py',
    '../_base_/schedules/linear_sgd_100e.py',
]

model = dict(backbone=dict(frozen_stages=3, drop_path_rate=0.0), head=dict(num_classes=45))
