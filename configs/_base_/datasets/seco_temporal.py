# DINO-TP on SeCo as downloaded: crops of three dates of a place, drawn with replacement at each visit
_base_ = 'seco_scenes.py'

train_dataloader = dict(
    dataset=dict(
        dates=3,
        min_dates=2,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None, stretch=[[0, 129], [2, 103], [3, 88]]),
            dict(type='mmrs_ssl.TemporalCrops', global_size=224, local_sizes=(184, 164, 144, 124, 104, 84)),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.TemporalCrops.global_size',
    crops='train_dataloader.dataset.pipeline.TemporalCrops.local_sizes',
)
