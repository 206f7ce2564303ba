"""Names of version 0.1 go on working, each with one warning."""

import warnings

import numpy as np
import pytest
import torch
from mmengine.registry import HOOKS, MODELS, TRANSFORMS, init_default_scope

from mmrs_ssl import aliases
from mmrs_ssl.cli.errors import explain
from tests.conftest import build_cmid, dino_config, mssdf_config


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(aliases, '_said', set())
    init_default_scope('mmpretrain')


def once(build, match):
    """What is built, with one warning at the first time and none at the second."""
    with pytest.warns(DeprecationWarning, match=match) as said:
        built = build()
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        build()
    return built


def applied(transform, seed=0):
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    return transform(dict(img=image, rng=np.random.default_rng(seed)))['img']


@pytest.mark.parametrize(('old', 'new'), aliases.TRANSFORM_NAMES.items())
def test_transforms_by_their_old_names(old, new):
    options = dict(size=20) if new == 'ResizeToSize' else dict(prob=1.0)
    transform = once(lambda: TRANSFORMS.build(dict(type=f'mmrs_ssl.{old}', **options)), rf"'mmrs_ssl\.{old}' .*{new}")
    same = TRANSFORMS.build(dict(type=f'mmrs_ssl.{new}', **options))
    assert type(transform) is type(same)
    assert type(transform).__name__ == new
    np.testing.assert_array_equal(applied(transform), applied(same))


def test_a_wrong_option_of_an_old_name_is_explained():
    with pytest.warns(DeprecationWarning, match='RandomGrey'), pytest.raises(TypeError) as error:
        TRANSFORMS.build(dict(type='mmrs_ssl.RandomGrey', probe=0.2))
    assert "unknown config key 'probe'" in explain(error.value)
    assert "did you mean 'prob'" in explain(error.value)


def test_old_options_of_dino_mc():
    model = once(lambda: MODELS.build(dino_config(centre_momentum=0.25)), r'DINOMC\(centre_momentum=\.\.\.\)')
    assert model.center.momentum == 0.25


def test_old_options_of_mssdf():
    config = mssdf_config(gives_way='dsm', normalise_targets='whiten')
    with pytest.warns(DeprecationWarning, match='is deprecated') as said:
        model = MODELS.build(config)
    assert [str(warning.message).split('(')[1].split('=')[0] for warning in said] == ['gives_way', 'normalise_targets']
    assert (model.masking.masked_modality, model.targets.normalize) == ('dsm', 'whiten')


def test_options_of_mssdf_that_are_options_of_its_parts_now():
    old = dict(
        alignment_samples=9,
        alignment_temperature=0.3,
        decoder_channels=16,
        decoder_heads=1,
        decoder_layers=2,
        fusion_layers=1,
        independence='class_tokens',
        information_aware=False,
        loss_weights=dict(alignment=2.0, modality=0),
        mask_ratio=0.5,
        reconstruction_weights=dict(dsm=0.25),
        shortcuts=True,
        substitution=0.3,
    )
    config = mssdf_config()
    del config['fusion'], config['decoder']
    with pytest.warns(DeprecationWarning, match='is deprecated'):
        model = MODELS.build({**config, **old})
    masking, fusion, decoder = model.masking, model.fusion.transformer, model.decoder.transformers['all']
    assert (masking.ratio, masking.substitution, masking.information_aware) == (0.5, 0.3, False)
    assert (model.fusion.channels, len(fusion.layers), len(decoder.layers), model.compared_places) == (16, 1, 2, 9)
    assert {layers.layers[0].self_attn.num_heads for layers in (fusion, decoder)} == {1}
    assert (model.fusion.shortcuts, model.decoder.shortcuts) == (True, True)
    weights = {name: term.weight for name, term in model.terms.items()}
    assert weights == dict(reconstruction=1.0, alignment=2.0, independence=0.2)
    assert model.terms['reconstruction'].modality_weights == dict(rgb=1.0, dsm=0.25)
    assert (model.terms['alignment'].temperature, model.terms['independence'].of) == (0.3, 'class_tokens')


def test_an_old_option_counts_over_the_new_one_of_a_base():
    with pytest.warns(DeprecationWarning, match='gives_way'):
        model = MODELS.build(mssdf_config(gives_way=None, masking=dict(masked_modality='dsm', ratio=0.5)))
    assert (model.masking.masked_modality, model.masking.ratio) == (None, 0.5)


@pytest.mark.parametrize('name', ['MultiSizeCrops', 'TemporalCrops'])
def test_old_option_of_the_crops(name):
    crops = once(lambda: TRANSFORMS.build(dict(type=f'mmrs_ssl.{name}', colours=False)), r'CropViews\(colours=\.\.\.\)')
    assert crops.colors is False


def test_old_option_of_the_views_of_cmid():
    views = once(lambda: TRANSFORMS.build(dict(type='mmrs_ssl.CMIDViews', shrink=True)), r'CMIDViews\(shrink=\.\.\.\)')
    assert views.first.size == 224


def test_old_values():
    loader = once(
        lambda: TRANSFORMS.build(dict(type='mmrs_ssl.LoadRaster', bands=1, height='colours')), "height='colours'"
    )
    assert loader.height == 'colors'
    schedule = dict(type='mmrs_ssl.ScheduleHook', path='x', start=0.0, end=1.0, schedule='stairs', every=2, rise=0.5)
    hook = once(lambda: HOOKS.build(schedule), "schedule='stairs'")
    assert once(lambda: HOOKS.build(dict(schedule, path='substitution', end=0.5)), "path='substitution'").path == (
        'masking.substitution'
    )
    assert [hook.value(step, 9) for step in (0, 1, 2, 4)] == [0.0, 0.0, 0.5, 1.0]


def test_weights_by_their_old_names():
    model = build_cmid(seed=1)
    model.center.value.normal_()
    state = model.state_dict()
    old = {key.replace('center.', 'centre.'): value for key, value in state.items()}
    assert 'centre.value' in old
    other = build_cmid(seed=2)
    with pytest.warns(DeprecationWarning, match=r"'centre\.value'"):
        other.load_state_dict(dict(old), strict=True)
    for key, value in other.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)
