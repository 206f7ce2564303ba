_base_ = 'cmid_resnet50.py'

model = dict(backbone=dict(depth=18))
