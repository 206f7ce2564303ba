# Any folder of 8-bit RGB images: --cfg-options data_root=my/images size=128 epochs=50
_base_ = [
    '../_base_/models/simmim_swin-base.py',
    '../_base_/datasets/one_view_224px.py',
    '../_base_/schedules/simmim_adamw_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'
model = dict(data_preprocessor=_base_.statistics)
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.RandomCropResize', size=224, scale=(0.67, 1.0)),
            dict(type='SimMIMMaskGenerator', input_size=224, mask_patch_size=32, model_patch_size=4, mask_ratio=0.6),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)
short_names = dict(
    size=[
        'train_dataloader.dataset.pipeline.RandomCropResize.size',
        'train_dataloader.dataset.pipeline.SimMIMMaskGenerator.input_size',
        'model.backbone.img_size',
    ],
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
