# a mean and a std for each band come from the data set: model = dict(data_preprocessor=_base_.statistics)
# the head's width follows the backbone
model = dict(
    type='mmrs_ssl.DINOMC',
    data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor'),
    backbone=dict(type='ResNet', depth=50, zero_init_residual=False),
    head=dict(type='mmrs_ssl.PrototypeHead'),
)
sync_bn = 'torch'  # on several GPUs BatchNorm sees all of them; on one device nothing changes
