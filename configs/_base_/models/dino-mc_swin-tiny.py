_base_ = 'dino-mc_resnet50.py'

# torchvision's Swin-T, as published: windows are not shifted where a map is a single one
model = dict(
    backbone=dict(_delete_=True, type='mmrs_ssl.PaddedSwinTransformer', arch='tiny', drop_path_rate=0.2),
    head=dict(in_channels=768),
)
