_base_ = [
    '../_base_/models/faster-rcnn_vit-base.py',
    '../_base_/datasets/dior.py',
    '../_base_/schedules/det_adamw_12e.py',
    'mmdet::_base_/default_runtime.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))
