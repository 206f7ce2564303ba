_base_ = [
    '../_base_/models/mssdf_vit-base.py',
    '../_base_/datasets/multispectral_rgb.py',
    '../_base_/schedules/mssdf_adamw_500e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        modalities=dict(
            _delete_=True,
            rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
            ms=dict(mean=[1000.0] * 4 + [2000.0] * 6, std=[700.0] * 4 + [1000.0] * 6),
        )
    )
)
optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=1.0)
