data_root = 'data/images'

weak_view = [dict(type='mmrs_ssl.RandomCropResize', size=224, scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3))]
strong_view = [
    *weak_view,
    dict(type='mmrs_ssl.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, prob=0.8),
    dict(type='mmrs_ssl.RandomGaussianBlur', kernel=(3, 7), sigma=(0.1, 2.0)),
    dict(type='mmrs_ssl.RandomNoise', variance=(10, 50), prob=0.6),
    dict(type='mmrs_ssl.RandomSolarize', prob=0.2),
    dict(type='mmrs_ssl.RandomGrayscale', prob=0.2),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mmrs_ssl.EpochSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmrs_ssl.ImageFolder',
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.ShrinkToSize', size=224),
            dict(type='mmrs_ssl.Views', views=[weak_view, strong_view]),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)
