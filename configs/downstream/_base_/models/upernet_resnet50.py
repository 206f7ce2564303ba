_base_ = ['mmseg::_base_/models/upernet_r50.py', '../pretrained.py']

model = dict(
    pretrained=None,
    data_preprocessor=dict(mean=_base_.mean, std=_base_.std, size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='SyncBN'),
    ),
)
