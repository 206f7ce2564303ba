_base_ = 'cmid_swin-base.py'

# not of the paper: for one's own data
model = dict(backbone=dict(arch='tiny'))
