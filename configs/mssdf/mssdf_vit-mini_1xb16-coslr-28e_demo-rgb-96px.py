# The demo with colors alone, for the ablation: no modality to tell them from, and no terms that compare two
_base_ = 'mssdf_vit-mini_1xb16-coslr-28e_demo-96px.py'

statistics = dict(modalities=dict(_delete_=True, rgb=_base_.statistics.modalities.rgb))
model = dict(
    data_preprocessor=statistics,
    masking=dict(substitution=0.0, masked_modality=None),
    terms=dict(alignment=dict(weight=0), independence=dict(weight=0), modality=dict(weight=0)),
)
train_dataloader = dict(
    dataset=dict(
        files=dict(_delete_=True, rgb='{scene}_dom'),
        pipeline=[
            dict(type='mmrs_ssl.LoadModalities', modalities=dict(rgb=dict(bands=3, nodata=0))),
            dict(type='mmrs_ssl.RandomFlip', prob=0.5),
            dict(type='mmrs_ssl.RandomCropResize', size=96, scale=(0.8, 1.0), prob=0.5, flip_prob=0),
            dict(type='mmrs_ssl.ColorJitter', brightness=0.2, contrast=0.2, hue=0.2, prob=0.5, modality='rgb'),
            dict(type='mmrs_ssl.PackModalities'),
        ],
    ),
)
custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.TeacherUpdateHook'),
    dict(type='mmrs_ssl.TeacherMomentumHook'),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.PictureHook', interval=200),
]
