# Any folder of 8-bit RGB images: --cfg-options data_root=my/images size=128 epochs=50
_base_ = [
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/one_view_224px.py',
    '../_base_/schedules/mae_adamw_300e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'
model = dict(data_preprocessor=_base_.statistics)
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
short_names = dict(
    size=['train_dataloader.dataset.pipeline.RandomCropResize.size', 'model.backbone.img_size', 'model.neck.img_size'],
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
