_base_ = 'dino-mc_resnet50.py'

# torchvision's Swin-T, as published: drop path in the teacher too, no shift where a map is a single window
model = dict(
    backbone=dict(_delete_=True, type='mmrs_ssl.PaddedSwinTransformer', arch='tiny', drop_path_rate=0.2),
    teacher_drop_path=True,
)
