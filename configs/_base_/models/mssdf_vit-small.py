_base_ = 'mssdf_vit-base.py'

# Not of the paper: for small data sets. configs/mssdf/README.md says why each of these.
model = dict(
    backbone=dict(arch='deit-small', img_size=224),
    masking=dict(ratio=0.6),
    targets=dict(normalize='whiten'),
    fusion=dict(channels=192, shortcuts=True),
    decoder=dict(shortcuts=True),
)
