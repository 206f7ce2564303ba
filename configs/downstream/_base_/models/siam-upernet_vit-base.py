_base_ = 'siam-upernet_resnet50.py'

# layers 3, 6, 9 and 12, counted from 1, all at stride 16, as in mmsegmentation's ViT configs without a neck
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=256,
        patch_size=16,
        patch_cfg=dict(padding=0),
        out_indices=(2, 5, 8, 11),
        out_type='featmap',
        drop_path_rate=0.1,
    ),
    decode_head=dict(in_channels=[1536, 1536, 1536, 1536]),
    auxiliary_head=dict(in_channels=1536),
)
