# CMID on a folder of images of your own. Colors tell what is seen from above, and views that keep more of them taught
# more than the published ones where it was measured: docs/results.md
_base_ = 'cmid_views_224px.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(
                type='mmrs_ssl.CMIDViews',
                size=224,
                scale=(0.3, 1.0),
                resize=True,
                jitter=(0.2, 0.2, 0.1, 0.03),
                gray_prob=0.05,
                solarize_prob=0.0,
            ),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
