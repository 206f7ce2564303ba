_base_ = [
    '../_base_/models/classifier_vit-small.py',
    '../_base_/datasets/eurosat.py',
    '../_base_/schedules/finetune_adamw_100e.py',
]

model = dict(head=dict(num_classes=10))
