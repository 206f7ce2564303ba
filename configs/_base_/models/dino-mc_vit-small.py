_base_ = 'dino-mc_vit-small-p8.py'

# not of the paper, whose patches have 8 pixels: a quarter of the tokens, for one's own data
model = dict(backbone=dict(patch_size=16))
