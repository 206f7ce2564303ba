_base_ = [
    '../_base_/models/classifier_swin-tiny.py',
    '../_base_/datasets/bigearthnet.py',
    '../_base_/schedules/finetune_adamw_100e.py',
]

model = dict(head=dict(_delete_=True, type='MultiLabelLinearClsHead', num_classes=19, in_channels=768))
