# DINO-MC on a folder of images of your own, with colors as in cmid_views_milder_224px.py
_base_ = 'multi_size_crops_224px.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(
                type='mmrs_ssl.MultiSizeCrops',
                global_size=224,
                local_sizes=(184, 164, 144, 124, 104, 84),
                global_jitter=(0.2, 0.2, 0.1, 0.03),
                local_jitter=(0.2, 0.2, 0.1, 0.03),
                gray_prob=0.05,
                solarize_prob=0.0,
            ),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
