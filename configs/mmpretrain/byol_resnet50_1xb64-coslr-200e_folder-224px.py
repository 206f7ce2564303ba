# Any folder of 8-bit RGB images: --cfg-options data_root=my/images size=128 epochs=50
_base_ = [
    '../_base_/models/byol_resnet50.py',
    '../_base_/datasets/contrast_views_224px.py',
    '../_base_/schedules/byol_lars_200e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'
model = dict(data_preprocessor=_base_.statistics)
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(
                type='mmrs_ssl.ContrastViews',
                size=224,
                scale=(0.08, 1.0),
                blur_prob=(1.0, 0.1),
                solarize_prob=(0.0, 0.2),
            ),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
