# Any folder of 8-bit RGB images: --cfg-options data_root=my/images size=128 epochs=50
_base_ = [
    '../_base_/models/mocov2_resnet50.py',
    '../_base_/datasets/images.py',
    '../_base_/schedules/mocov2_sgd_200e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'
statistics = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # of ImageNet
model = dict(
    data_preprocessor=statistics,
    queue_len=4096,  # of a small data set; a multiple of the batch
)
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.ContrastViews', size=224, scale=(0.2, 1.0)),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.ContrastViews.size',
    crops='train_dataloader.dataset.pipeline.ContrastViews.scale',
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
