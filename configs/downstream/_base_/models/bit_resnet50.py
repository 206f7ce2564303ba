_base_ = '../pretrained.py'

# BIT of open-cd; of the backbone three stages, the third at stride 8
model = dict(
    type='SiamEncoderDecoder',
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
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=50,
        num_stages=3,
        strides=(1, 2, 1),
        dilations=(1, 1, 1),
        out_indices=(2,),
        norm_cfg=dict(type='SyncBN'),
    ),
    neck=dict(type='FeatureFusionNeck', policy='concat', out_indices=(0,)),
    decode_head=dict(
        type='BITHead',
        in_channels=1024,
        channels=32,
        embed_dims=64,
        enc_depth=1,
        dec_depth=8,
        num_heads=8,
        token_len=4,
        upsample_size=4,
        num_classes=2,
        norm_cfg=dict(type='LN'),
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
