"""Data preprocessors: what they refuse, what travels with a batch, and that what they get stays as it is."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample

from mmrs_ssl.models.data_preprocessor import BandPreprocessor, ModalityPreprocessor
from tests.conftest import build_mssdf, make_modalities, mssdf_config

TWO, THREE = dict(rgb=3, dsm=1), dict(rgb=3, dsm=1, irc=3)


def test_information_is_of_the_pixels_as_they_were():
    """8 bits as they are, metres between two deviations; not the normalized values."""
    model = build_mssdf(TWO).train()
    data = make_modalities(TWO)
    inputs, scale = model.data_preprocessor(data, True)['inputs'], model.data_preprocessor.byte_scale
    assert torch.equal(scale('rgb', inputs['rgb'], True), data['inputs']['rgb'])
    metres = data['inputs']['dsm']
    expected = ((metres - (5 - 2 * 4)) / (4 * 4) * 255).clamp(0, 255)
    torch.testing.assert_close(scale('dsm', inputs['dsm'], False), expected, rtol=1e-5, atol=1e-3)


def test_information_does_not_depend_on_what_went_through_before():
    """The types of a batch's modalities travel with it."""
    model = build_mssdf(TWO).train()
    data = model.data_preprocessor(make_modalities(TWO), True)
    assert all(sample.eight_bits == ('rgb',) for sample in data['data_samples'])
    information, _, _ = model.draw_masks(**data)
    other = make_modalities(TWO, seed=1)
    other['inputs'] = dict(rgb=other['inputs']['rgb'].float(), dsm=other['inputs']['dsm'].byte())
    others = model.data_preprocessor(other, True)
    again, _, _ = model.draw_masks(**data)
    for name in TWO:
        assert torch.equal(information[name], again[name])
    as_float = make_modalities(TWO)
    as_float['inputs']['rgb'] = as_float['inputs']['rgb'].float()
    different, _, _ = model.draw_masks(**model.data_preprocessor(as_float, True))
    assert (different['rgb'] - information['rgb']).abs().mean() > 1  # the type does matter
    for samples in ([], None, make_modalities(TWO)['data_samples'], data['data_samples'] + others['data_samples']):
        with pytest.raises(ValueError, match=r'eight_bits=.* expected one value'):
            model.loss(data['inputs'], samples)


def test_a_batch_without_samples_gets_some():
    model = build_mssdf(TWO).train()
    data = model.data_preprocessor(dict(inputs=make_modalities(TWO)['inputs']), True)
    assert [sample.eight_bits for sample in data['data_samples']] == [('rgb',)] * 4
    assert 'loss_reconstruction' in model.loss(**data)


def test_a_modality_is_missing():
    model = build_mssdf(THREE)
    with pytest.raises(ValueError, match=r'place_0.tif has no irc, only rgb, dsm'):
        model.data_preprocessor(make_modalities(TWO), True)


def test_modalities_of_different_sizes():
    data = make_modalities(TWO)
    data['inputs']['dsm'] = data['inputs']['dsm'][..., :48]
    with pytest.raises(ValueError, match=r"place_0.tif has modalities of different sizes.*'dsm': \(64, 48\).*one grid"):
        build_mssdf(TWO).data_preprocessor(data, True)


@pytest.mark.parametrize(
    ('value', 'kind', 'message'),
    [
        (float('nan'), torch.float32, 'no numbers'),
        (float('inf'), torch.float16, 'no numbers'),
        (1e300, torch.float64, 'no numbers'),  # in float32
        (7, torch.float32, 'the same value everywhere'),
        (7, torch.int16, 'the same value everywhere'),
        (7, torch.uint16, 'the same value everywhere'),
        (7, torch.uint8, 'the same value everywhere'),
    ],
)
def test_a_surface_model_of_constants_or_nan(value, kind, message):
    data = make_modalities(TWO)
    heights = data['inputs']['dsm'] = data['inputs']['dsm'].to(kind)
    preprocessor = MODELS.build(mssdf_config(TWO)['data_preprocessor'])
    preprocessor(data, True)
    heights[2] = value
    with pytest.raises(ValueError, match=rf"place_2.tif has .*{message} in 'dsm'"):
        preprocessor.check(data['inputs'], data['data_samples'])
    with pytest.raises(ValueError, match=message):
        preprocessor(data, True)
    assert set(preprocessor.normalize(data['inputs'])) == set(TWO)  # which reads no values


def test_colors_that_are_no_numbers_and_constant_colors():
    data = make_modalities(TWO)
    preprocessor = MODELS.build(mssdf_config(TWO)['data_preprocessor'])
    data['inputs']['rgb'][1] = 0  # black, in several bands, may be
    preprocessor(data, True)
    data['inputs']['rgb'] = data['inputs']['rgb'].float()
    data['inputs']['rgb'][3, 1, 5, 7] = -float('inf')
    with pytest.raises(ValueError, match=r"place_3\.tif has values that are no numbers in 'rgb'"):
        preprocessor(data, True)


@pytest.mark.parametrize('non_blocking', [True, False])
def test_copies_to_the_device_wait_or_not_as_asked(monkeypatch, non_blocking):
    preprocessor = MODELS.build({**mssdf_config(TWO)['data_preprocessor'], 'non_blocking': non_blocking})
    asked, to = [], torch.Tensor.to

    def spy(tensor, *args, **kwargs):
        asked.extend(kwargs[key] for key in kwargs if key == 'non_blocking')
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, 'to', spy)
    preprocessor(make_modalities(TWO), True)
    assert asked == [non_blocking] * 2


STATISTICS = dict(mean=[3.0, 5.0], std=[2.0, 4.0])


@pytest.mark.parametrize('memory_format', [torch.channels_last, torch.contiguous_format])
def test_a_batch_that_needs_no_conversion_is_not_written_into(memory_format):
    image = torch.randn(2, 2, 6, 4).contiguous(memory_format=memory_format)
    before = image.clone()
    expected = (image - torch.tensor([3.0, 5.0]).view(2, 1, 1)) / torch.tensor([2.0, 4.0]).view(2, 1, 1)
    one = BandPreprocessor(**STATISTICS)(dict(inputs=[image]))['inputs'][0]
    several = ModalityPreprocessor(dict(a=copy.deepcopy(STATISTICS)))(dict(inputs=dict(a=image)))['inputs']['a']
    for made in (one, several):
        torch.testing.assert_close(made, expected)
    assert torch.equal(image, before)


def test_masks_go_where_the_images_are():
    """SimMIM takes them from the data samples; other fields stay."""
    preprocessor = BandPreprocessor([1.0] * 4, [2.0] * 4)
    samples = [DataSample() for _ in range(3)]
    for number, sample in enumerate(samples):
        sample.mask = torch.full((2, 2), number)
        sample.boxes = torch.zeros(1, 4)
    preprocessor._device = torch.device('meta')
    data = preprocessor(dict(inputs=torch.ones(3, 4, 8, 8), data_samples=samples), True)
    assert data['inputs'].device.type == 'meta'
    assert {sample.mask.device.type for sample in data['data_samples']} == {'meta'}
    assert {sample.boxes.device.type for sample in data['data_samples']} == {'cpu'}
    preprocessor._device = torch.device('cpu')
    for number, sample in enumerate(samples):
        sample.mask = torch.full((2, 2), number)
    data = preprocessor(dict(inputs=torch.ones(3, 4, 8, 8), data_samples=samples), True)
    assert [sample.mask.tolist() for sample in data['data_samples']] == [[[n, n], [n, n]] for n in range(3)]
