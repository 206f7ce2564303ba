_base_ = 'mmdet::_base_/datasets/coco_detection.py'

# The archive as downloaded: train and val are for training, test is for evaluation
data_root = 'data/dior'
metainfo = dict(
    classes=(
        'airplane', 'airport', 'baseballfield', 'basketballcourt', 'bridge', 'chimney', 'dam',
        'Expressway-Service-area', 'Expressway-toll-station', 'golffield', 'groundtrackfield', 'harbor', 'overpass',
        'ship', 'stadium', 'storagetank', 'tenniscourt', 'trainstation', 'vehicle', 'windmill',
    ),
)  # fmt: skip
ann_subdir = 'Annotations/Horizontal Bounding Boxes'
train_set = dict(
    type='XMLDataset',
    data_root=data_root,
    metainfo=metainfo,
    data_prefix=dict(sub_data_root=''),
    img_subdir='JPEGImages-trainval',
    ann_subdir=ann_subdir,
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=_base_.train_pipeline,
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[{**train_set, 'ann_file': f'ImageSets/Main/{split}.txt'} for split in ('train', 'val')],
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='XMLDataset',
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(sub_data_root=''),
        ann_file='ImageSets/Main/test.txt',
        img_subdir='JPEGImages-test',
        ann_subdir=ann_subdir,
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='area')
test_evaluator = val_evaluator
