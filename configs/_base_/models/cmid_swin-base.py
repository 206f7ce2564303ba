_base_ = 'cmid_resnet50.py'

# drop path is not part of the method; 0.2 is usual for Swin-B, and off in the teacher
model = dict(
    backbone=dict(_delete_=True, type='SwinTransformer', arch='base', drop_path_rate=0.2, pad_small_map=True),
    neck=dict(in_channels=1024),
    local_head=dict(in_channels=1024, batch_norm=False),
    reconstruction_head=dict(in_channels=1024),
)
