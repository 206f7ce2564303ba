# DINO-TP on any time series of GeoTIFFs, of any number of bands: crops of three dates of a place, with augmentation
# per band. Places with a single date are left out (raise dataset.max_bad where there are many)
_base_ = 'scenes.py'

train_dataloader = dict(
    dataset=dict(
        # a folder per place with a file per date; a file per band: '{scene}/{date}/{band}' and band_files=[...]
        files='{scene}/{date}',
        dates=3,
        min_dates=2,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None),
            dict(type='mmrs_ssl.RandomFlip'),
            dict(type='mmrs_ssl.RandomRotate90'),
            dict(
                type='mmrs_ssl.TemporalCrops',
                global_size=224,
                local_sizes=(184, 164, 144, 124, 104, 84),
                colors=False,
            ),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
short_names = dict(
    size='train_dataloader.dataset.pipeline.TemporalCrops.global_size',
    crops='train_dataloader.dataset.pipeline.TemporalCrops.local_sizes',
    bands='train_dataloader.dataset.pipeline.LoadRaster.bands',
)
