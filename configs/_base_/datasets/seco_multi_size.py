# DINO-MC on SeCo as downloaded: all crops of one date of a place, drawn anew at each visit
_base_ = 'seco.py'

data_root = 'data/seco_100k'
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        window=264,  # all of a patch
        pipeline=[
            _base_.train_dataloader.dataset.pipeline[0],
            dict(type='mmrs_ssl.MultiSizeCrops'),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
)
