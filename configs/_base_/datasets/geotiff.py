# Any GeoTIFFs: a folder, a glob pattern, or a list (.csv, .json); windows of any number of bands and any type.
# Not 8 bits: --cfg-options train_dataloader.dataset.max_value=... (tools/band_stats.py prints it)
_base_ = 'cmid_views_224px.py'

data_root = 'data/scenes'
weak_view = [dict(type='mmrs_ssl.RandomCropResize', size=224, scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3))]
strong_view = [
    *weak_view,
    dict(type='mmrs_ssl.SpectralJitter', brightness=0.4, contrast=0.4, prob=0.8),
    dict(type='mmrs_ssl.RandomGaussianBlur', kernel=(3, 7), sigma=(0.1, 2.0)),
    dict(type='mmrs_ssl.RandomNoise', variance=(10, 50), prob=0.6),
    dict(type='mmrs_ssl.RandomSolarize', prob=0.2),
    dict(type='mmrs_ssl.BandDropout', prob=0.2),
]

train_dataloader = dict(
    dataset=dict(
        type='mmrs_ssl.SceneDataset',
        data_root=data_root,
        window=256,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None),
            dict(type='mmrs_ssl.RandomFlip'),
            dict(type='mmrs_ssl.RandomRotate90'),
            dict(type='mmrs_ssl.Views', views=[weak_view, strong_view]),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
