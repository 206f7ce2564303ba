_base_ = 'change_pairs.py'

# Binary change: changed is where the two labels differ (folder label, by tools/prepare/second.py)
data_root = 'data/SECOND'
train_prefix = dict(img_path_from='train/im1', img_path_to='train/im2', seg_map_path='train/label')
test_prefix = dict(img_path_from='test/im1', img_path_to='test/im2', seg_map_path='test/label')
train_dataloader = dict(dataset=dict(data_root=data_root, data_prefix=train_prefix))
val_dataloader = dict(dataset=dict(data_root=data_root, data_prefix=test_prefix))
test_dataloader = val_dataloader
