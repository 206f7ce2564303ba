_base_ = 'faster-rcnn_resnet50.py'

# mmdetection has no neck for maps of one size: mmsegmentation's makes strides 4 to 32 of layers 3, 6, 9 and 12
custom_imports = dict(imports=['mmrs_ssl', 'mmseg.models'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=800,
        patch_size=16,
        patch_cfg=dict(padding=0),
        out_indices=(2, 5, 8, 11),
        out_type='featmap',
        drop_path_rate=0.1,
    ),
    neck=[
        dict(type='mmseg.MultiLevelNeck', in_channels=[768] * 4, out_channels=256, scales=[4, 2, 1, 0.5]),
        dict(type='FPN', in_channels=[256] * 4, out_channels=256, num_outs=5),
    ],
)
