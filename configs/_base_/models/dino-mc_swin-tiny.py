_base_ = 'dino-mc_resnet50.py'

# drop path is off in the teacher; pad_small_map: the smaller crops have maps smaller than a window
model = dict(
    backbone=dict(_delete_=True, type='SwinTransformer', arch='tiny', drop_path_rate=0.1, pad_small_map=True),
    head=dict(in_channels=768),
)
