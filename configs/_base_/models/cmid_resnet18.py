_base_ = 'cmid_resnet50.py'

model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=512),
    local_head=dict(in_channels=512),
    reconstruction_head=dict(in_channels=512),
)
