# Heights above ground in metres, GeoTIFF, named like their images; NaN where unknown. They are moved up by one metre
# (so are predictions): mmsegmentation's loss is one of logarithms and passes over what is not positive, as the ground.
data_root = 'data/potsdam_height'
crop_size = (512, 512)
meta_keys = ('img_path', 'depth_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip',
             'flip_direction')  # fmt: skip
load_height = [
    dict(type='LoadDepthAnnotation'),
    dict(
        type='KeyMapper',
        mapping=dict(img='gt_depth_map'),
        remapping=dict(img='gt_depth_map'),
        transforms=[dict(type='Normalize', mean=[-1.0], std=[1.0], to_rgb=False)],
    ),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    *load_height,
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs', meta_keys=meta_keys),
]
test_pipeline = [dict(type='LoadImageFromFile'), *load_height, dict(type='PackSegInputs', meta_keys=meta_keys)]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='NYUDataset',
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/train', depth_map_path='height_dir/train'),
        img_suffix='.tif',
        depth_map_suffix='.tif',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='NYUDataset',
        data_root=data_root,
        test_mode=True,
        data_prefix=dict(img_path='img_dir/val', depth_map_path='height_dir/val'),
        img_suffix='.tif',
        depth_map_suffix='.tif',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='DepthMetric')
test_evaluator = val_evaluator
