# A short training on few images, measured beside others in docs/results.md: RSSCN7's 1,400 images, shrunk to 128 x 128
# pixels, and 13 minutes of one processor core. Against the config for folders, each because it measured better there or
# because there are but 650 steps: fewer masked pixels, small batches, a queue no longer than the data set, a teacher
# that follows faster, a higher learning rate, and little weight on the prototypes, which mean something only later.
_base_ = [
    '../_base_/models/cmid_resnet18.py',
    '../_base_/datasets/cmid_views_milder_224px.py',
    '../_base_/schedules/cmid_adan_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/rsscn7_128'
statistics = dict(mean=[102.69, 105.39, 97.56], std=[53.86, 47.63, 48.00])
model = dict(
    data_preprocessor=statistics,
    global_head=dict(queue_length=1024, temperature=0.2),
    local_head=dict(hidden_channels=512, num_prototypes=256),
    mask_block=16,
    mask_ratio=0.3,
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
            dict(
                type='mmrs_ssl.CMIDViews',
                size=64,
                scale=(0.3, 1.0),
                blur_kernel=(3, 3),
                blur_sigma=(0.1, 0.9),
                jitter=(0.2, 0.2, 0.1, 0.03),
                gray_prob=0.05,
                solarize_prob=0.0,
            ),
            dict(type='mmrs_ssl.PackViews'),
        ],
    ),
)

optim_wrapper = dict(optimizer=dict(lr=8e-3))
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=0.05, start_factor=0.01, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=15)
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
    dict(type='mmrs_ssl.PictureHook', interval=300),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=5))
