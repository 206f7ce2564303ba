_base_ = 'classifier_resnet50.py'

model = dict(
    backbone=dict(_delete_=True, type='SwinTransformer', arch='tiny', drop_path_rate=0.1),
    head=dict(in_channels=768),
)
