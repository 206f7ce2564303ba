"""Every method on a device that is not there: no tensor is left on the CPU, and nothing waits for the device."""

import pytest
import torch
from torch import nn

from mmrs_ssl.models import CMID
from tests.conftest import cmid_config, dino_config, make_batch, make_crops, make_modalities, mssdf_config
from tests.fake_devices import FakeDevice, autocast, untrained

PAIR, THREE, PHOTOS = dict(rgb=3, dsm=1), dict(rgb=3, dsm=1, irc=3), dict(rgb=3, irc=3)
ALONE = {name: dict(weight=0) for name in ('alignment', 'independence', 'modality')}
VIT = dino_config('vit')['backbone']
VIEWS, CROPS, DATES = make_batch(2), make_crops((64, 64, 40), 2), make_crops((64, 64, 64, 40), 2)


def mssdf(modalities, **options):
    return mssdf_config(
        modalities, **{'fusion': dict(layers=1), 'decoder': dict(layers=1), **options}
    ), make_modalities(modalities, 2)


# name -> (config, batch); every one of these takes a way of its own
METHODS = {
    'cmid-resnet': (cmid_config(), VIEWS),
    'cmid-swin': (cmid_config('swin'), VIEWS),
    'cmid-vit': (cmid_config('vit'), VIEWS),
    'cmid-convnext': (cmid_config('convnext'), VIEWS),
    'dino-resnet': (dino_config(), CROPS),
    'dino-swin': (dino_config('swin'), CROPS),
    'dino-vit': (dino_config('vit'), CROPS),
    'dino-convnext': (dino_config('convnext'), CROPS),
    'mssdf': mssdf(PAIR),
}
OPTIONS = {
    'cmid-byol-resnet': (cmid_config(byol=True), VIEWS),
    'cmid-byol-vit': (cmid_config('vit', byol=True), VIEWS),
    'cmid-replace-resnet': (cmid_config(mask_token_mode='replace'), VIEWS),
    'cmid-replace-vit': (cmid_config('vit', mask_token_mode='replace'), VIEWS),
    'cmid-5-bands': (cmid_config('vit', bands=5), make_batch(2, bands=5)),
    'dino-unpacked': (dino_config('vit', packed=False), CROPS),
    'dino-drop-path': (dino_config('vit', backbone={**VIT, 'drop_path_rate': 0.5}), CROPS),
    'dino-tp': (dino_config(num_global=3), DATES),
    'dino-tp-vit': (dino_config('vit', num_global=3), DATES),
    'mssdf-3': mssdf(THREE),
    'mssdf-1': mssdf(dict(rgb=3), masking=dict(substitution=0), terms=ALONE),
    'mssdf-evenly': mssdf(PAIR, masking=dict(information_aware=False, substitution=0)),
    'mssdf-gives-way': mssdf(THREE, masking=dict(masked_modality='dsm'), fusion=dict(layers=1, shortcuts=True)),
    'mssdf-unshared': mssdf(PHOTOS, share_patch_embed=False, decoder=dict(layers=1, share=False, shortcuts=True)),
    'mssdf-classes': mssdf(PAIR, terms=dict(independence=dict(of='class_tokens'))),
    'mssdf-image': mssdf(PAIR, terms=dict(alignment=dict(negatives='image'))),
    'mssdf-tokens': mssdf(PAIR, targets=dict(normalize='tokens')),
    'mssdf-dimensions': mssdf(PAIR, targets=dict(normalize='dimensions')),
    'mssdf-whiten': mssdf(PAIR, targets=dict(normalize='whiten')),
}
SIMPLE = ('cmid-resnet', 'dino-vit', 'mssdf')


def losses_on(model, data, dtype=torch.float32):
    """The losses of a batch from the CPU, and the inputs that the preprocessor made of it."""
    batch = model.data_preprocessor(data, True)
    with autocast(dtype):
        return model.loss(**batch), batch['inputs']


def devices_of(values):
    values = values.values() if isinstance(values, dict) else values
    return {value.device.type for value in values}


@pytest.mark.parametrize(
    ('name', 'precision'),
    [
        *((name, 'bfloat16') for name in METHODS),
        *(pytest.param(name, 'float32', marks=pytest.mark.slow) for name in SIMPLE),
    ],
)
def test_loss_stays_on_the_device(name, precision):
    dtype = getattr(torch, precision)
    config, data = METHODS[name]
    model = untrained(config)
    kind = nn.Linear if name == 'mssdf' else nn.Conv2d  # MSSDF embeds patches without the module
    layer = next(module for module in model.backbone.modules() if isinstance(module, kind))
    dtypes = []
    layer.register_forward_hook(lambda module, args, made: dtypes.append(made.dtype))
    with FakeDevice() as device:
        device.adopt(model)
        losses, inputs = losses_on(model, data, dtype)
        assert devices_of(losses) == devices_of(inputs) == devices_of(model.monitor().features) == {'cuda'}
    assert set(dtypes) == {dtype}  # autocast did something
    assert device.places() == []


@pytest.mark.parametrize('name', OPTIONS)
def test_loss_stays_on_the_device_with_other_options(name):
    """In the precision of the published configs, and with the tensors that pictures are made of."""
    config, data = OPTIONS[name]
    model = untrained(config)
    model.recording = True
    with FakeDevice() as device:
        device.adopt(model)
        losses, _ = losses_on(model, data, torch.float16 if isinstance(model, CMID) else torch.bfloat16)
        assert devices_of(losses) == {'cuda'}
    assert model.kept
    assert device.places() == []


@pytest.mark.parametrize('name', SIMPLE)
def test_gradients_stay_on_the_device(name):
    config, data = METHODS[name]
    model = untrained(config)
    with FakeDevice('meta') as device:
        device.adopt(model)
        losses, _ = losses_on(model, data)
        sum(losses.values()).backward()
        grads = {name: param.grad for name, param in model.named_parameters() if param.requires_grad}
        assert [name for name, grad in grads.items() if grad is None] == []
        assert devices_of(grads) == {'meta'}
    assert device.places() == []
