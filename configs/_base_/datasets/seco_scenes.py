# SeCo as downloaded: place / date / a file per band. The pipeline of a method is still to come; loading stretches the
# bands to 8 bits, as SeCo was published
_base_ = 'loader.py'

data_root = 'data/seco_100k'
# of ImageNet, as published with DINO-MC, in the units of the stretched bands
statistics = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
train_dataloader = dict(
    dataset=dict(
        type='mmrs_ssl.SceneDataset',
        data_root=data_root,
        files='{scene}/{date}/{band}',
        band_files=['B4', 'B3', 'B2'],
        window=264,  # all of a patch
    )
)
short_names = dict(window='train_dataloader.dataset.window')
