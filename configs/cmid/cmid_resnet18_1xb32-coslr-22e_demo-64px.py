# The demo: generated scenes of 96 x 96 pixels, minutes on two processor cores. Everything is sized to 550 steps on 800
# small images: queue and batch, small views and masks, a teacher that follows faster, residual branches that are open
# from the start, a sharper contrast, and little weight on the prototypes, which mean something only later.
_base_ = [
    '../_base_/models/cmid_resnet18.py',
    '../_base_/datasets/cmid_views_224px.py',
    '../_base_/schedules/cmid_adan_200e.py',
    '../_base_/default_runtime.py',
]

data_root = 'work_dirs/demo/scenes'
model = dict(
    data_preprocessor=_base_.statistics,
    backbone=dict(zero_init_residual=False),
    global_head=dict(queue_length=512, temperature=0.1),
    local_head=dict(hidden_channels=512, num_prototypes=256),
    mask_block=16,
    loss_weights=dict(loss_local=0.1),
)

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.CMIDViews', size=64, scale=(0.3, 1.0), blur_kernel=(3, 3), blur_sigma=(0.1, 0.9)),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)

optim_wrapper = dict(optimizer=dict(lr=8e-3))
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=1 / 22, start_factor=0.01, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=22)
auto_scale_lr = dict(enable=True)
custom_hooks = [
    dict(type='mmrs_ssl.StepSeedHook'),
    dict(type='mmrs_ssl.TeacherUpdateHook'),
    dict(
        type='mmrs_ssl.ScheduleHook',
        path='teacher_temperature',
        schedule='linear',
        start=0.04,
        end=0.07,
        length=50,
        by_epoch=True,
    ),
    dict(type='mmrs_ssl.FiniteLossHook'),
    dict(type='mmrs_ssl.CollapseMonitorHook'),
    dict(type='mmrs_ssl.ScheduleHook', path='teacher.momentum', start=0.99, end=1.0),
    dict(type='mmrs_ssl.PictureHook', interval=150),
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=11))
