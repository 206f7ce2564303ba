_base_ = 'mssdf_vit-base.py'

# not of the paper: for small data sets
model = dict(
    backbone=dict(arch='deit-small', img_size=224),
    fusion=dict(channels=192),
    targets=dict(normalize='whiten'),
)
