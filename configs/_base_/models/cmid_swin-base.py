_base_ = 'cmid_resnet50.py'

# as published: no drop path, and windows that are not shifted where a map is a single one
model = dict(
    backbone=dict(_delete_=True, type='mmrs_ssl.PaddedSwinTransformer', arch='base', drop_path_rate=0.0),
    neck=dict(in_channels=1024),
    local_head=dict(in_channels=1024, batch_norm=False),
    reconstruction_head=dict(in_channels=1024),
)
