_base_ = [
    '../_base_/models/faster-rcnn_vit-base.py',
    '../_base_/datasets/dota.py',
    '../_base_/schedules/det_adamw_12e.py',
    'mmdet::_base_/default_runtime.py',
]

# a tile of DOTA may hold hundreds of objects
model = dict(roi_head=dict(bbox_head=dict(num_classes=15)), test_cfg=dict(rcnn=dict(max_per_img=1000)))
