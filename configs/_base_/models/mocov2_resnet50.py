# mmpretrain's MoCo v2; as in the paper BatchNorm is each GPU's own, and images are shuffled between the GPUs
model = dict(
    type='MoCo',
    queue_len=65536,  # a multiple of the batch
    feat_dim=128,
    momentum=0.001,  # weight of the student
    data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor'),
    backbone=dict(type='ResNet', depth=50, in_channels=3, zero_init_residual=False),
    neck=dict(type='MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=128),
    head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.2),
)
