_base_ = 'change_pairs.py'

# also named CDD; the archive as downloaded
data_root = 'data/SVCD'
train_dataloader = dict(
    dataset=dict(type='SVCD_Dataset', data_root=data_root, data_prefix=dict(seg_map_path='train/OUT')),
)
val_dataloader = dict(
    dataset=dict(type='SVCD_Dataset', data_root=data_root, data_prefix=dict(seg_map_path='val/OUT')),
)
test_dataloader = dict(
    dataset=dict(type='SVCD_Dataset', data_root=data_root, data_prefix=dict(seg_map_path='test/OUT')),
)
