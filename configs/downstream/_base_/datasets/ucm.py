_base_ = 'scenes_224px.py'

data_root = 'data/ucm'
train_dataloader = dict(dataset=dict(data_root=data_root, data_prefix='Images'))
val_dataloader = dict(dataset=dict(data_root=data_root, data_prefix='Images'))
test_dataloader = val_dataloader
