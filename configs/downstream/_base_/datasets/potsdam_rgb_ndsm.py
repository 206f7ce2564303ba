_base_ = 'mmseg::_base_/datasets/potsdam.py'

# Heights above ground (nDSM) of every tile, GeoTIFF in metres, lie beside img_dir and ann_dir in ndsm_dir/{train,val}:
# tools/prepare/ndsm.py cuts them. They are taken as they are: where a tile shows some ground they are what the
# pre-training saw, heights above the lowest point, and a tile of roof or of ground alone keeps what it is, whatever is
# cut out of it. Colors change before the heights are appended, so that no color operation touches them.
load = [dict(type='mmrs_ssl.LoadRaster', bands=3)]
append_heights = dict(type='mmrs_ssl.AppendRaster', folder=('img_dir', 'ndsm_dir'), suffix='.tif', bands=1)
train_pipeline = [
    *load,
    dict(type='PhotoMetricDistortion'),
    append_heights,
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(512, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    *load,
    append_heights,
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
tta_pipeline = [*load, append_heights, _base_.tta_pipeline[1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
