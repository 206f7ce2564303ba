_base_ = 'cmid_vit-base.py'

# not of the paper: for one's own data
model = dict(
    backbone=dict(arch='deit-small'),
    neck=dict(in_channels=384),
    local_head=dict(in_channels=384),
    reconstruction_head=dict(in_channels=384),
)
