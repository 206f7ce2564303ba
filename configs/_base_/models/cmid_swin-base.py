_base_ = 'cmid_resnet50.py'

# as published: no drop path, and windows that are not shifted where a map is a single one
model = dict(
    backbone=dict(_delete_=True, type='mmrs_ssl.PaddedSwinTransformer', arch='base', drop_path_rate=0.0),
    local_head=dict(batch_norm=False),
)
