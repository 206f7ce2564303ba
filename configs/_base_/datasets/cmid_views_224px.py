# CMID on a folder of images
_base_ = 'images.py'

# of MillionAID, as published with CMID, in the units of 8-bit images
statistics = dict(mean=[86.18, 91.93, 85.37], std=[34.65, 34.48, 35.88])
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.CMIDViews', size=224, scale=(0.3, 1.0), resize=True),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.CMIDViews.size',
    crops='train_dataloader.dataset.pipeline.CMIDViews.scale',
    jitter='train_dataloader.dataset.pipeline.CMIDViews.jitter',
    gray='train_dataloader.dataset.pipeline.CMIDViews.gray_prob',
)
