_base_ = ['mmpretrain::_base_/models/resnet50.py', '../pretrained.py']

model = dict(data_preprocessor=dict(mean=_base_.mean, std=_base_.std, to_rgb=True))
sync_bn = 'torch'  # on several GPUs BatchNorm sees all of them
