_base_ = 'dino-mc_resnet50.py'

# for small data sets: with BatchNorm in the head the teacher tells images apart within few steps
model = dict(backbone=dict(depth=18), head=dict(batch_norm=True))
