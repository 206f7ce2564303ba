_base_ = 'cmid_vit-base.py'

# not of the paper: for one's own data
model = dict(backbone=dict(arch='deit-small'))
