# A folder of 8-bit RGB images, sub-folders included. A method's pipeline is still to come
_base_ = 'loader.py'

data_root = 'data/images'
train_dataloader = dict(dataset=dict(type='mmrs_ssl.ImageFolder', data_root=data_root))
