_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '../pretrained.py']

# nothing is frozen, and BatchNorm sees all GPUs: a batch of two images is small
model = dict(
    data_preprocessor=dict(mean=_base_.mean, std=_base_.std),
    backbone=dict(
        type='mmpretrain.ResNet',
        frozen_stages=-1,
        norm_cfg=dict(type='SyncBN'),
        norm_eval=False,
        init_cfg=None,
    ),
)
