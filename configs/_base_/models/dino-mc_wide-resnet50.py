_base_ = 'dino-mc_resnet50.py'

# Wide ResNet-50-2: twice the width inside the bottlenecks, the same outside
model = dict(backbone=dict(base_channels=128, expansion=2))
