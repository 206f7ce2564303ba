# Multispectral bands (Sentinel-2 or the like, reflectance in ten-thousandths) and a sharper RGB image of one place;
# both are read onto the grid of the RGB image
_base_ = 'hr_pairs.py'

data_root = 'data/multispectral_rgb'
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        files=dict(_delete_=True, rgb='{scene}_rgb', ms='{scene}_ms'),
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(
                    rgb=dict(bands=3),
                    ms=dict(bands=10),
                ),
            ),
            *_base_.train_dataloader.dataset.pipeline[1:],
        ],
    )
)
