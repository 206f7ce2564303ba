_base_ = 'upernet_vit-base.py'

model = dict(
    backbone=dict(arch='deit-small'),
    neck=dict(in_channels=[384, 384, 384, 384], out_channels=384),
    decode_head=dict(in_channels=[384, 384, 384, 384]),
    auxiliary_head=dict(in_channels=384),
)
