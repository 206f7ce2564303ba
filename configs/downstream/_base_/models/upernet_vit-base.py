_base_ = ['mmseg::_base_/models/upernet_vit-b16_ln_mln.py', '../pretrained.py']

# layers 3, 6, 9 and 12, counted from 1
model = dict(
    pretrained=None,
    data_preprocessor=dict(mean=_base_.mean, std=_base_.std, size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=512,
        patch_size=16,
        patch_cfg=dict(padding=0),
        out_indices=(2, 5, 8, 11),
        out_type='featmap',
        drop_path_rate=0.1,
    ),
)
