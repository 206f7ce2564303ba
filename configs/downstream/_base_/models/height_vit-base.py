_base_ = 'upernet_vit-base.py'

# The head takes maps of strides 4, 8, 16, 32 and predicts at every pixel
model = dict(
    type='DepthEstimator',
    data_preprocessor=dict(seg_pad_val=0),
    decode_head=dict(
        _delete_=True,
        type='VPDDepthHead',
        in_channels=[768, 768, 768, 768],
        num_deconv_layers=2,
        num_deconv_filters=(32, 32),
    ),
    auxiliary_head=None,
)
