# Your own GeoTIFFs: orthophotos with a surface model each, by default NAME_rgb.tif with NAME_dsm.tif (dataset.files);
# grids and resolutions may differ. tools/band_stats.py prints means and deviations of your data
_base_ = [
    '../_base_/models/mssdf_vit-small.py',
    '../_base_/datasets/hr_pairs.py',
    '../_base_/schedules/mssdf_adamw_500e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/scenes'
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        files=dict(rgb='{scene}_rgb', dsm='{scene}_dsm'),
        window=224,
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(
                    rgb=dict(bands=3),
                    dsm=dict(bands=1, height='above_minimum'),
                ),
            ),
            _base_.train_dataloader.dataset.pipeline[1],
            dict(type='mmrs_ssl.RandomCropResize', size=224, scale=(0.8, 1.0), prob=0.5, flip_prob=0),
            *_base_.train_dataloader.dataset.pipeline[3:],
        ],
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=10, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=100)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
