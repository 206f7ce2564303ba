_base_ = '../pretrained.py'

# A head for change, and one for the classes of both dates
norm_cfg = dict(type='SyncBN', requires_grad=True)
head = dict(
    type='mmseg.UPerHead',
    in_channels=[256, 512, 1024, 2048],
    in_index=[0, 1, 2, 3],
    pool_scales=(1, 2, 3, 6),
    channels=256,
    dropout_ratio=0.1,
    norm_cfg=norm_cfg,
    align_corners=False,
    loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True),
)
model = dict(
    type='SiamEncoderMultiDecoder',
    data_preprocessor=dict(
        type='DualInputSegDataPreProcessor',
        mean=_base_.mean * 2,
        std=_base_.std * 2,
        bgr_to_rgb=True,
        size_divisor=32,
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=32),
    ),
    backbone=dict(type='mmpretrain.ResNet', depth=50, out_indices=(0, 1, 2, 3), norm_cfg=norm_cfg),
    decode_head=dict(
        type='GeneralSCDHead',
        binary_cd_neck=dict(type='FeatureFusionNeck', policy='abs_diff'),
        binary_cd_head=dict(num_classes=2, **head),
        semantic_cd_head=dict(num_classes=6, ignore_index=255, **head),
    ),
    postprocess_pred_and_label='cover_semantic',
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
