# DINO-MC on any GeoTIFFs: windows of any number of bands and any type, with augmentation per band.
# Several dates of a place: dataset.files as in geotiff_temporal.py; one is then drawn at each visit
_base_ = 'geotiff.py'

data_root = 'data/scenes'
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        pipeline=[
            *_base_.train_dataloader.dataset.pipeline[:3],
            dict(type='mmrs_ssl.MultiSizeCrops', colors=False),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
