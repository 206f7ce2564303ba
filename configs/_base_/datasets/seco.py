# CMID on SeCo as downloaded: one date of a place at each visit; dataset.dates=2 makes the two views two dates
_base_ = 'seco_scenes.py'

train_dataloader = dict(
    dataset=dict(
        window=256,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None, stretch=[[0, 129], [2, 103], [3, 88]]),
            dict(type='mmrs_ssl.CMIDViews', size=224, scale=(0.3, 1.0)),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.CMIDViews.size',
    crops='train_dataloader.dataset.pipeline.CMIDViews.scale',
)
