_base_ = 'cmid_swin-base.py'

# not of the paper: for one's own data
model = dict(
    backbone=dict(arch='tiny'),
    neck=dict(in_channels=768),
    local_head=dict(in_channels=768),
    reconstruction_head=dict(in_channels=768),
)
