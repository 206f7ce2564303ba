# Two views of every image of a folder, for methods that compare them (MoCo, SimSiam, BYOL)
_base_ = 'images.py'

# of ImageNet, in the units of 8-bit images
statistics = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.ContrastViews', size=224, scale=(0.2, 1.0)),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.ContrastViews.size',
    crops='train_dataloader.dataset.pipeline.ContrastViews.scale',
    jitter='train_dataloader.dataset.pipeline.ContrastViews.jitter',
    gray='train_dataloader.dataset.pipeline.ContrastViews.gray_prob',
)
