_base_ = 'scenes_224px.py'

# 8-bit RGB images and the annotations that tools/prepare/bigearthnet.py writes
data_root = 'data/bigearthnet'
train_dataloader = dict(
    dataset=dict(type='MultiLabelDataset', data_root=data_root, ann_file='train.json', data_prefix='images'),
)
val_dataloader = dict(
    dataset=dict(type='MultiLabelDataset', data_root=data_root, ann_file='val.json', data_prefix='images'),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='AveragePrecision')
test_evaluator = val_evaluator
