_base_ = 'classifier_resnet50.py'

model = dict(
    backbone=dict(_delete_=True, type='SwinTransformer', arch='base', drop_path_rate=0.2),
    head=dict(in_channels=1024),
)
