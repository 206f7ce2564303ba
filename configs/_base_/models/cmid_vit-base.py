_base_ = 'cmid_resnet50.py'

# drop path is not part of the method; 0.1 is usual for ViT-B, and off in the teacher
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
    neck=dict(in_channels=768),
    local_head=dict(in_channels=768, batch_norm=False),
    reconstruction_head=dict(in_channels=768, stride=16),
)
