_base_ = 'faster-rcnn_resnet50.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='base',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.2,
        pad_small_map=True,
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
