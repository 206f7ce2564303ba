_base_ = 'mssdf_vit-base.py'

model = dict(backbone=dict(arch='large'), decoder_channels=512, decoder_heads=8)
