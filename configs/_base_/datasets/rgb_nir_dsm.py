# Orthophoto, color-infrared image and surface height of one place; grids and resolutions may differ, all are read onto
# that of the first
_base_ = 'hr_pairs.py'

data_root = 'data/rgb_nir_dsm'
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        files=dict(_delete_=True, rgb='{scene}_rgb', irc='{scene}_irc', dsm='{scene}_dsm'),
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(
                    rgb=dict(bands=3),
                    irc=dict(bands=3),
                    dsm=dict(bands=1, height='above_minimum'),
                ),
            ),
            *_base_.train_dataloader.dataset.pipeline[1:],
        ],
    )
)
