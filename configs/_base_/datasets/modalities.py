# Several modalities of one place, a file each, for MSSDF. Files, loading and statistics are still to come.
# Statistics of every modality are in the units of its raster, those of heights in metres above the window's lowest
# point; the first one's patch embedding is the backbone's. tools/band_stats.py --out rgb.json, then
# --cfg-options statistics.rgb=rgb.json
_base_ = 'loader.py'

data_root = 'data/scenes'
train_dataloader = dict(dataset=dict(type='mmrs_ssl.SceneDataset', data_root=data_root, window=320))
short_names = dict(
    size=[
        'train_dataloader.dataset.pipeline.RandomCropResize.size',
        'train_dataloader.dataset.window',
        'model.backbone.img_size',
    ],
    crops='train_dataloader.dataset.pipeline.RandomCropResize.scale',
    window='train_dataloader.dataset.window',
)
