# What the data sets of every pre-training share. Each adds its own data, its method's pipeline, the statistics of its
# pixels, and to the short names what they change in it.
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mmrs_ssl.EpochSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)

# What --cfg-options NAME=VALUE sets: dotted paths; an element of a list goes by its type, wherever it stands, and * is
# every one that has the setting.
short_names = dict(
    batch='train_dataloader.batch_size',
    epochs='train_cfg.max_epochs',
    lr='optim_wrapper.optimizer.lr',
    warmup='param_scheduler.*.share',
    statistics=['statistics', 'model.data_preprocessor'],
)
