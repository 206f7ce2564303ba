# HR-Pairs: orthophoto and surface height of one place, patch/*_dom.tif with patch/*_dsm.tif
_base_ = 'cmid_views_224px.py'

data_root = 'data/hr_pairs'
train_dataloader = dict(
    dataset=dict(
        type='mmrs_ssl.SceneDataset',
        data_root=data_root,
        files=dict(rgb='{scene}_dom', dsm='{scene}_dsm'),
        window=320,
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(
                    rgb=dict(bands=3, nodata=0),
                    dsm=dict(bands=1, height='above_minimum'),
                ),
            ),
            dict(type='mmrs_ssl.RandomFlip', prob=0.5),
            dict(type='mmrs_ssl.RandomCropResize', size=320, scale=(0.8, 1.0), prob=0.5, flip_prob=0),
            dict(type='mmrs_ssl.ColorJitter', prob=0.5, modality='rgb'),
            dict(type='mmrs_ssl.PackModalities'),
        ],
    )
)
