_base_ = 'dino-mc_resnet50.py'

# drop path is off in the teacher; patch_cfg: crops that are no multiple of the patch are floored, not padded
model = dict(
    backbone=dict(
        _delete_=True,
        type='VisionTransformer',
        arch='deit-small',
        img_size=224,
        patch_size=8,
        patch_cfg=dict(padding=0),
        drop_path_rate=0.1,
    ),
    init_std=0.02,  # as published
)
