_base_ = 'mssdf_vit-base.py'

model = dict(backbone=dict(arch='large'), fusion=dict(channels=512, heads=8), decoder=dict(heads=8))
