# DINO-MC on SeCo as downloaded: all crops of one date of a place, drawn anew at each visit
_base_ = 'seco_scenes.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None, stretch=[[0, 129], [2, 103], [3, 88]]),
            dict(type='mmrs_ssl.MultiSizeCrops', global_size=224, local_sizes=(184, 164, 144, 124, 104, 84)),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.MultiSizeCrops.global_size',
    crops='train_dataloader.dataset.pipeline.MultiSizeCrops.local_sizes',
)
