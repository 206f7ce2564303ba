# DINO-MC on a folder of images: two crops of 224 pixels and six of 184 to 84
_base_ = 'cmid_views_224px.py'

data_root = 'data/images'
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.MultiSizeCrops'),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
