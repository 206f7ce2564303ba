# One crop of every image of a folder, for methods that mask it (MAE, SimMIM)
_base_ = 'images.py'

# of ImageNet, in the units of 8-bit images
statistics = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.RandomCropResize', size=224, scale=(0.2, 1.0)),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
# a config adds to the size what its network has to know of it
short_names = dict(
    size='train_dataloader.dataset.pipeline.RandomCropResize.size',
    crops='train_dataloader.dataset.pipeline.RandomCropResize.scale',
)
