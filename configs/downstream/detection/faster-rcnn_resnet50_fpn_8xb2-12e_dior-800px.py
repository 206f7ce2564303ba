_base_ = [
    '../_base_/models/faster-rcnn_resnet50.py',
    '../_base_/datasets/dior.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))
