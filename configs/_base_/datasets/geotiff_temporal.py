# DINO-TP on any time series of GeoTIFFs, of any number of bands: crops of three dates of a place, with augmentation
# per band. Places with a single date are left out (raise dataset.max_bad where there are many)
_base_ = 'geotiff.py'

data_root = 'data/scenes'
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        # a folder per place with a file per date; a file per band: '{scene}/{date}/{band}' and band_files=[...]
        files='{scene}/{date}',
        dates=3,
        min_dates=2,
        pipeline=[
            *_base_.train_dataloader.dataset.pipeline[:3],
            dict(type='mmrs_ssl.TemporalCrops', colors=False),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
