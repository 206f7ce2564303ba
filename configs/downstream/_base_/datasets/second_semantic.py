_base_ = 'second_binary.py'

# Semantic change: label1 and label2 hold the class numbers of open-cd's SECOND_Dataset, by
# tools/prepare/second.py
data_root = 'data/SECOND'
load = [dict(type='MultiImgLoadImageFromFile'), dict(type='MultiImgMultiAnnLoadAnnotations')]
train_dataloader = dict(
    dataset=dict(
        type='SECOND_Dataset',
        data_root=data_root,
        data_prefix=dict(seg_map_path_from='train/label1', seg_map_path_to='train/label2'),
        pipeline=[*load, *_base_.train_pipeline[2:]],
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='SECOND_Dataset',
        data_root=data_root,
        data_prefix=dict(seg_map_path_from='test/label1', seg_map_path_to='test/label2'),
        pipeline=[*load, *_base_.test_pipeline[2:]],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='SCDMetric', iou_metrics=['mFscore', 'mIoU'], cal_sek=True)
test_evaluator = val_evaluator
