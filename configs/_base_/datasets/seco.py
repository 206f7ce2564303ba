# SeCo as downloaded: place / date / a file per band. One date of a place at each visit, stretched to 8 bits as SeCo was
# published; dataset.dates=2 makes the two views two dates
_base_ = 'cmid_views_224px.py'

data_root = 'data/seco_100k'
train_dataloader = dict(
    dataset=dict(
        type='mmrs_ssl.SceneDataset',
        data_root=data_root,
        files='{scene}/{date}/{band}',
        band_files=['B4', 'B3', 'B2'],
        window=256,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=None, stretch=[[0, 129], [2, 103], [3, 88]]),
            dict(type='mmrs_ssl.Views', views=[_base_.weak_view, _base_.strong_view]),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
