_base_ = 'mssdf_vit-base.py'

# not of the paper: for small data sets
model = dict(
    backbone=dict(arch='deit-small', img_size=224),
    decoder_channels=192,
    decoder_heads=6,
    normalize_targets='whiten',
)
