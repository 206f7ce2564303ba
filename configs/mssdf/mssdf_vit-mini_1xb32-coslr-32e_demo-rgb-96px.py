# The demo with colors alone, for the ablation: no modality to tell them from, and no terms that compare two
_base_ = 'mssdf_vit-mini_1xb32-coslr-32e_demo-96px.py'

statistics = dict(modalities=dict(_delete_=True, rgb=_base_.statistics.modalities.rgb))
model = dict(
    data_preprocessor=statistics,
    substitution=0.0,
    masked_modality=None,
    reconstruction_weights=None,
    loss_weights=dict(alignment=0, independence=0, modality=0),
)
train_dataloader = dict(
    dataset=dict(
        files=dict(_delete_=True, rgb='{scene}_dom'),
        pipeline=[
            dict(type='mmrs_ssl.LoadModalities', modalities=dict(rgb=dict(bands=3, nodata=0))),
            dict(type='mmrs_ssl.RandomFlip', prob=0.5),
            dict(type='mmrs_ssl.RandomCropResize', size=96, scale=(0.8, 1.0), prob=0.5, flip_prob=0),
            dict(type='mmrs_ssl.ColorJitter', prob=0.5, modality='rgb'),
            dict(type='mmrs_ssl.PackModalities'),
        ],
    ),
)
