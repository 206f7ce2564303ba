# What every downstream task takes from pre-training: its weights, and with them the mean, std and order of bands that
# the file records. Of a file that records none these count: MillionAID's, as published with CMID; RGB, 8 bits. Others:
# --cfg-options custom_hooks.0.checkpoint=FILE model.data_preprocessor.mean=[R,G,B] model.data_preprocessor.std=[R,G,B]
mean = [86.18, 91.93, 85.37]
std = [34.65, 34.48, 35.88]
custom_imports = dict(imports=['mmrs_ssl'], allow_failed_imports=False)
custom_hooks = [
    dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint='work_dirs/backbone.pth', normalization='adopt'),
]
