# Every second tile of the training set: tools/prepare/segmentation.py half writes their names
_base_ = [
    '../_base_/models/upernet_swin-base.py',
    'mmseg::_base_/datasets/potsdam.py',
    '../_base_/schedules/adamw_80k.py',
    'mmseg::_base_/default_runtime.py',
]

model = dict(decode_head=dict(num_classes=6), auxiliary_head=dict(num_classes=6))
train_dataloader = dict(dataset=dict(ann_file='train_half.txt'))
