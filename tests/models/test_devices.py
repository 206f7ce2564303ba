"""Every method on a device that is not there: no tensor is left on the CPU, and nothing waits for the device."""

import pytest
import torch
from torch import nn

from mmrs_ssl.models import CMID
from tests.conftest import build, cmid_config, dino_config, make_batch, make_crops, make_modalities, mssdf_config
from tests.fake_devices import FakeDevice, autocast

FAMILIES = ('resnet', 'swin', 'vit', 'convnext')
PAIR, THREE, PHOTOS = dict(rgb=3, dsm=1), dict(rgb=3, dsm=1, irc=3), dict(rgb=3, irc=3)
ALONE = dict(alignment=0, independence=0, modality=0)
VIT = dino_config('vit')['backbone']

# name -> (config, batch); every one of these takes a way of its own
METHODS = {
    **{f'cmid-moco-{family}': (cmid_config(family), make_batch(2)) for family in FAMILIES},
    **{f'dino-{family}': (dino_config(family), make_crops((64, 64, 44, 40), 2)) for family in FAMILIES},
    'mssdf': (mssdf_config(PAIR), make_modalities(PAIR, 2)),
}
OPTIONS = {
    'cmid-byol-resnet': (cmid_config(byol=True), make_batch(2)),
    'cmid-byol-vit': (cmid_config('vit', byol=True), make_batch(2)),
    'cmid-replace-resnet': (cmid_config(mask_token_mode='replace'), make_batch(2)),
    'cmid-replace-swin': (cmid_config('swin', mask_token_mode='replace'), make_batch(2)),
    'cmid-5-bands': (cmid_config(bands=5), make_batch(2, bands=5)),
    'dino-unpacked': (dino_config('vit', packed=False), make_crops((64, 64, 44, 40), 2)),
    'dino-drop-path': (dino_config('vit', backbone={**VIT, 'drop_path_rate': 0.5}), make_crops((64, 64, 40), 2)),
    'dino-tp': (dino_config(num_global=3), make_crops((64, 64, 64, 40), 2)),
    'dino-tp-vit': (dino_config('vit', num_global=3), make_crops((64, 64, 64, 40), 2)),
    'mssdf-3': (mssdf_config(THREE), make_modalities(THREE, 2)),
    'mssdf-1': (
        mssdf_config(dict(rgb=3), substitution=0, loss_weights=ALONE),
        make_modalities(dict(rgb=3), 2),
    ),
    'mssdf-evenly': (mssdf_config(PAIR, information_aware=False, substitution=0), make_modalities(PAIR, 2)),
    'mssdf-gives-way': (mssdf_config(THREE, gives_way='dsm', shortcuts=True), make_modalities(THREE, 2)),
    'mssdf-shared': (mssdf_config(PHOTOS, share_patch_embed=True), make_modalities(PHOTOS, 2)),
    'mssdf-predictions': (mssdf_config(PAIR, independence='predictions'), make_modalities(PAIR, 2)),
    **{
        f'mssdf-{kind}': (mssdf_config(PAIR, normalise_targets=kind), make_modalities(PAIR, 2))
        for kind in ('tokens', 'dimensions', 'whiten')
    },
}


def losses_on(device, model, data, dtype=None):
    """The losses of a batch from the CPU, and the inputs that the preprocessor made of it."""
    batch = model.data_preprocessor(data, True)
    with autocast(dtype):
        return model.loss(**batch), batch['inputs']


def devices_of(values):
    values = values.values() if isinstance(values, dict) else values
    return {value.device.type for value in values}


@pytest.mark.parametrize('dtype', [None, torch.bfloat16], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('name', METHODS)
def test_loss_stays_on_the_device(name, dtype):
    config, data = METHODS[name]
    model = build(config, seed=0).train()
    layer = next(module for module in model.backbone.modules() if isinstance(module, nn.Conv2d))
    dtypes = []
    layer.register_forward_hook(lambda module, args, made: dtypes.append(made.dtype))
    with FakeDevice() as device:
        device.adopt(model)
        losses, inputs = losses_on(device, model, data, dtype)
        assert devices_of(losses) == devices_of(inputs) == devices_of(model.features) == {'cuda'}
    assert set(dtypes) == {dtype or torch.float32}  # autocast did something
    assert device.places() == []


@pytest.mark.parametrize('name', OPTIONS)
def test_loss_stays_on_the_device_with_other_options(name):
    """In the precision of the published configs, and with the tensors that pictures are made of."""
    config, data = OPTIONS[name]
    model = build(config, seed=0).train()
    model.recording = True
    with FakeDevice() as device:
        device.adopt(model)
        losses, _ = losses_on(device, model, data, torch.float16 if isinstance(model, CMID) else torch.bfloat16)
        assert devices_of(losses) == {'cuda'}
    assert model.recorded
    assert device.places() == []


@pytest.mark.parametrize('name', ['cmid-moco-resnet', 'dino-vit', 'mssdf'])
def test_gradients_stay_on_the_device(name):
    config, data = METHODS[name]
    model = build(config, seed=0).train()
    with FakeDevice('meta') as device:
        device.adopt(model)
        losses, _ = losses_on(device, model, data)
        sum(losses.values()).backward()
        grads = {name: param.grad for name, param in model.named_parameters() if param.requires_grad}
        assert [name for name, grad in grads.items() if grad is None] == []
        assert devices_of(grads) == {'meta'}
    assert device.places() == []
