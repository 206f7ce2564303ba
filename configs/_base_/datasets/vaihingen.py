# ISPRS Vaihingen as downloaded: near infrared, red and green of 9 cm, and surface height
_base_ = 'hr_pairs.py'

data_root = 'data/vaihingen'
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        files=dict(_delete_=True, irrg='top/top_mosaic_09cm_area{scene}', dsm='dsm/dsm_09cm_matching_area{scene}'),
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(
                    irrg=dict(bands=3),
                    dsm=dict(bands=1, height='above_minimum'),
                ),
            ),
            *_base_.train_dataloader.dataset.pipeline[1:3],
            dict(type='mmrs_ssl.ColorJitter', prob=0.5, modality='irrg'),
            dict(type='mmrs_ssl.PackModalities'),
        ],
    )
)
