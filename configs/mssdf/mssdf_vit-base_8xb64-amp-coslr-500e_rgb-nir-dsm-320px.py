_base_ = [
    '../_base_/models/mssdf_vit-base.py',
    '../_base_/datasets/rgb_nir_dsm.py',
    '../_base_/schedules/mssdf_adamw_500e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        modalities=dict(
            _delete_=True,
            rgb=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
            irc=dict(mean=[123.675, 123.675, 116.28], std=[58.395, 58.395, 57.12]),
            dsm=dict(mean=[6.0], std=[6.0]),
        )
    )
)
optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=1.0)
