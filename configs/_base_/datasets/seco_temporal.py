# DINO-TP on SeCo as downloaded: crops of three dates of a place, drawn with replacement at each visit
_base_ = 'seco.py'

data_root = 'data/seco_100k'
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        window=264,  # all of a patch
        dates=3,
        min_dates=2,
        pipeline=[
            _base_.train_dataloader.dataset.pipeline[0],
            dict(type='mmrs_ssl.TemporalCrops'),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
