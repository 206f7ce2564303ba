_base_ = 'upernet_vit-base.py'

# Color and heights, by the names that they had in their common pre-training. Of a file that records no statistics these
# count, the heights' in metres.
mean = [*_base_.mean, 6.0]
std = [*_base_.std, 6.0]
model = dict(
    data_preprocessor=dict(mean=mean, std=std, bgr_to_rgb=False),
    backbone=dict(type='mmrs_ssl.ModalityVisionTransformer', modalities=[('rgb', 3), ('dsm', 1)], fuse='linear'),
)
