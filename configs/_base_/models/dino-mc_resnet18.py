_base_ = 'dino-mc_resnet50.py'

model = dict(backbone=dict(depth=18), head=dict(in_channels=512))
