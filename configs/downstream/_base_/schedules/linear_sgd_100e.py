_base_ = 'mmpretrain::_base_/default_runtime.py'

# A linear layer on frozen features
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.0))
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
# the last checkpoint counts: most of these data sets have no images for choosing another but the ones for testing
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
