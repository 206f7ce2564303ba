_base_ = 'change_pairs.py'

# Blue, green and red, which the data preprocessor turns round; reflectances 0 to 0.3 as 0 to 255. For all bands leave
# bands out and set LoadRaster's bands, backbone.in_channels, mean and std. There is no validation set: the numbers
# during training are the test set's, and the last checkpoint counts
data_root = 'data/OSCD'
load = dict(type='mmrs_ssl.LoadRaster', bands=3, stretch=[(0, 3000)] * 3)
train_dataset = dict(
    _delete_=True,
    type='mmrs_ssl.OSCDDataset',
    data_root=data_root,
    split='train',
    bands=('B02', 'B03', 'B04'),
    pipeline=[load, *_base_.train_pipeline[1:]],
)
test_dataset = {**train_dataset, 'split': 'test', 'pipeline': [load, *_base_.test_pipeline[1:]]}
train_dataloader = dict(dataset=train_dataset)
val_dataloader = dict(dataset=test_dataset)
test_dataloader = dict(dataset=test_dataset)
