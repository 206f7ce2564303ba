# Folders of 8-bit RGB images, sub-folders included; convert=rgb makes such of others. A method's pipeline is still to
# come
_base_ = 'loader.py'

data_root = 'data/images'  # or a pattern, or a list of both
train_dataloader = dict(dataset=dict(type='mmrs_ssl.ImageFolder', data_root=data_root, exclude=[]))
short_names = dict(
    exclude='train_dataloader.dataset.exclude', convert='train_dataloader.dataset.pipeline.LoadRaster.convert'
)
