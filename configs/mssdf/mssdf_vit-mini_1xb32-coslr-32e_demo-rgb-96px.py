# The demo with colors alone, for the ablation: no modality to tell them from, and no terms that compare two
_base_ = 'mssdf_vit-mini_1xb32-coslr-32e_demo-96px.py'

model = dict(
    data_preprocessor=dict(
        modalities=dict(_delete_=True, rgb=_base_.model.data_preprocessor.modalities.rgb),
    ),
    substitution=0.0,
    masked_modality=None,
    reconstruction_weights=None,
    loss_weights=dict(alignment=0, independence=0, modality=0),
)
pipeline = _base_.train_dataloader.dataset.pipeline
train_dataloader = dict(
    dataset=dict(
        files=dict(_delete_=True, rgb='{scene}_dom'),
        pipeline=[
            dict(type='mmrs_ssl.LoadModalities', modalities=dict(rgb=dict(bands=3, nodata=0))),
            *pipeline[1:],
        ],
    ),
)
