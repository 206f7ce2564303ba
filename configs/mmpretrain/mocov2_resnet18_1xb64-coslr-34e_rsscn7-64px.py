# A short training on few images, measured beside others in docs/results.md: RSSCN7's 1,400 images, shrunk to 128 x 128
# pixels, and 13 minutes of one processor core
_base_ = [
    '../_base_/models/mocov2_resnet50.py',
    '../_base_/datasets/contrast_views_224px.py',
    '../_base_/schedules/mocov2_sgd_200e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/rsscn7_128'
statistics = dict(mean=[102.69, 105.39, 97.56], std=[53.86, 47.63, 48.00])
model = dict(
    data_preprocessor=statistics,
    queue_len=1024,
    backbone=dict(depth=18, zero_init_residual=True),
    neck=dict(in_channels=512, hid_channels=512),
)
train_dataloader = dict(
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(
                type='mmrs_ssl.ContrastViews', size=64, scale=(0.2, 1.0), jitter=(0.2, 0.2, 0.1, 0.03), gray_prob=0.05
            ),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.24))  # 0.06 of this batch
train_cfg = dict(max_epochs=34)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=17))
