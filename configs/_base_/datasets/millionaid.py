# MillionAID's test images: a folder of JPEGs of many sizes, labels unused
_base_ = 'cmid_views_224px.py'

data_root = 'data/millionaid/test'
train_dataloader = dict(dataset=dict(data_root=data_root))
