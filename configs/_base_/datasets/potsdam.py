# ISPRS Potsdam as downloaded: orthophotos of 6000 x 6000 pixels of 5 cm, read by windows, each shrunk to 224 pixels
_base_ = 'cmid_views_224px.py'

data_root = 'data/potsdam/2_Ortho_RGB'
train_dataloader = dict(
    dataset=dict(
        type='mmrs_ssl.SceneDataset',
        data_root=data_root,
        files='top_potsdam_{scene}_RGB',
        window=512,
    )
)
