# mmpretrain's SimMIM; windows are not shifted where a map is a single one, and images may have any size
model = dict(
    type='SimMIM',
    data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor'),
    backbone=dict(type='mmrs_ssl.PaddedSimMIMSwinTransformer', arch='base', img_size=224, in_channels=3),
    neck=dict(type='mmrs_ssl.SimMIMBandDecoder', in_channels=1024, encoder_stride=32, bands=3),
    head=dict(
        type='SimMIMHead',
        patch_size=4,
        loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3),
    ),
)
