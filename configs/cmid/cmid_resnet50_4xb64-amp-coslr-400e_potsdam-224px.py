_base_ = 'cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px.py'

data_root = 'data/potsdam/img_dir/train'
train_dataloader = dict(dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=400)
