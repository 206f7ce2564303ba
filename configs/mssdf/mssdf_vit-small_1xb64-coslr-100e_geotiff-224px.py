# Your own GeoTIFFs: orthophotos with a surface model each, by default NAME_rgb.tif with NAME_dsm.tif (dataset.files);
# who gives dsm another name gives it to model.masking.masked_modality, too;
# grids and resolutions may differ. tools/band_stats.py 'my/scenes/*_rgb.tif' --out rgb.json, then
# --cfg-options data_root=my/scenes statistics.rgb=rgb.json
_base_ = [
    '../_base_/models/mssdf_vit-small.py',
    '../_base_/datasets/geotiff_pairs.py',
    '../_base_/schedules/mssdf_adamw_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
model = dict(data_preprocessor=_base_.statistics, masking=dict(masked_modality='dsm'))
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
