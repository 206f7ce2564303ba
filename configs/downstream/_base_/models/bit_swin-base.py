_base_ = 'bit_resnet50.py'

# the third stage, at stride 16; the fourth is not used
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='base',
        out_indices=(2,),
        drop_path_rate=0.2,
        pad_small_map=True,
    ),
    decode_head=dict(in_channels=512, pre_upsample=4),
)
find_unused_parameters = True
