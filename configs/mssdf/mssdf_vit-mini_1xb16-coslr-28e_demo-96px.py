# The demo: generated scenes of 96 x 96 pixels with surface heights, minutes on two processor cores. Everything is sized
# to 1,400 steps on 800 small images: a narrow network, a short fusion and decoder, small batches. All four terms have
# their published weights, and heights give way to colors, as in the public program.
_base_ = [
    '../_base_/models/mssdf_vit-small.py',
    '../_base_/datasets/hr_pairs.py',
    '../_base_/schedules/mssdf_adamw_500e.py',
    '../_base_/default_runtime.py',
]

data_root = 'work_dirs/demo/scenes'
model = dict(
    data_preprocessor=_base_.statistics,
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=96,
    ),
    masking=dict(masked_modality='dsm'),
    fusion=dict(channels=48, heads=2, layers=1),
    decoder=dict(heads=2, layers=1),
)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        window=96,
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(
                    rgb=dict(bands=3, nodata=0),
                    dsm=dict(bands=1, height='above_minimum'),
                ),
            ),
            dict(type='mmrs_ssl.RandomFlip', prob=0.5),
            dict(type='mmrs_ssl.RandomCropResize', size=96, scale=(0.8, 1.0), prob=0.5, flip_prob=0),
            dict(type='mmrs_ssl.ColorJitter', brightness=0.2, contrast=0.2, hue=0.2, prob=0.5, modality='rgb'),
            dict(type='mmrs_ssl.PackModalities'),
        ],
    ),
)

optim_wrapper = dict(optimizer=dict(lr=16e-3))  # of 256 images
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=4 / 28, start_factor=1e-12, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=4 / 28, eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=28)
custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.TeacherUpdateHook'),
    dict(type='mmrs_ssl.TeacherMomentumHook'),
    dict(
        type='mmrs_ssl.ScheduleHook',
        path='masking.substitution',
        schedule='step',
        start=0.1,
        end=0.7,
        every=4,
        rise=0.1,
        by_epoch=True,
    ),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.GradientShareHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.PictureHook', interval=200),
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=14))
