# Any GeoTIFFs: a folder, a glob pattern, or a list (.csv, .json); windows of any number of bands and any type. The
# pipeline of a method is still to come.
# Statistics of a band each; tools/band_stats.py --out stats.json, then --cfg-options statistics=stats.json.
# Not 8 bits: --cfg-options max_value=... band_spread=..., a number or one per band (tools/band_stats.py prints them)
_base_ = 'loader.py'

data_root = 'data/scenes'
statistics = dict(mean=[114.0, 116.0, 103.0, 124.0], std=[40.0, 35.0, 31.0, 44.0])
train_dataloader = dict(
    dataset=dict(type='mmrs_ssl.SceneDataset', data_root=data_root, window=256, max_value=None, band_spread=None)
)
short_names = dict(
    band_spread='train_dataloader.dataset.band_spread',
    max_value='train_dataloader.dataset.max_value',
    window='train_dataloader.dataset.window',
)
