_base_ = [
    '../_base_/models/classifier_swin-tiny.py',
    '../_base_/datasets/bigearthnet.py',
    '../_base_/schedules/linear_sgd_100e.py',
]

model = dict(
    backbone=dict(frozen_stages=3, drop_path_rate=0.0),
    head=dict(_delete_=True, type='MultiLabelLinearClsHead', num_classes=19, in_channels=768),
)
