_base_ = 'change_pairs.py'

# 8-bit RGB pictures of the Sentinel-2 bands, by tools/prepare/change_detection.py. There is no validation set: the
# numbers during training are the test set's, and the last checkpoint counts
data_root = 'data/OSCD'
test_prefix = dict(img_path_from='test/A', img_path_to='test/B', seg_map_path='test/label')
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root, data_prefix=test_prefix))
test_dataloader = dict(dataset=dict(data_root=data_root))
