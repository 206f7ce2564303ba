_base_ = 'scenes_224px.py'

data_root = 'data/resisc45'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
