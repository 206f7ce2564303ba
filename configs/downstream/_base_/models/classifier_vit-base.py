_base_ = 'classifier_resnet50.py'

# patches are averaged: only some methods train the class token
model = dict(
    backbone=dict(
        _delete_=True,
        type='VisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        patch_cfg=dict(padding=0),
        drop_path_rate=0.1,
        out_type='featmap',
    ),
    head=dict(in_channels=768),
)
