_base_ = ['mmseg::_base_/models/upernet_swin.py', '../pretrained.py']

model = dict(
    data_preprocessor=dict(mean=_base_.mean, std=_base_.std, size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='base',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.3,
        pad_small_map=True,
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
