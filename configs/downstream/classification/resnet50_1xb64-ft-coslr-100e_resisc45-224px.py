_base_ = [
    '../_base_/models/classifier_resnet50.py',
    '../_base_/datasets/resisc45.py',
    '../_base_/schedules/finetune_adamw_100e.py',
]

model = dict(head=dict(num_classes=45))
