_base_ = 'cmid_resnet50.py'

# not of the paper; no drop path (mmpretrain's default), as the paper's own transformer has none
model = dict(
    backbone=dict(
        _delete_=True,
        type='VisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        patch_cfg=dict(padding=0),
        out_type='featmap',
    ),
    local_head=dict(batch_norm=False),
)
