_base_ = 'classifier_vit-base.py'

model = dict(backbone=dict(arch='deit-small'), head=dict(in_channels=384))
