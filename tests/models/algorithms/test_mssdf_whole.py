"""MSSDF as it is wired: every term rebuilt from raw pixels, and what every option changes, and what it leaves alone."""

import copy

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample

from mmrs_ssl.models.masks import cross_modal
from tests.conftest import build
from tests.models.algorithms import mssdf_reference as reference

SIZE, PATCH, GRID = (32, 48), 8, (4, 6)  # not square: axes can't be swapped unseen
STATISTICS = dict(
    rgb=dict(mean=[110.0, 120.0, 130.0], std=[60.0, 50.0, 40.0]),
    dsm=dict(mean=[5.0], std=[4.0]),
    ms=dict(mean=[900.0, 1000.0, 1100.0, 1200.0, 1300.0], std=[300.0, 400.0, 500.0, 350.0, 450.0]),
    irc=dict(mean=[100.0, 105.0, 115.0], std=[45.0, 55.0, 65.0]),
)
TWO, THREE, ALIKE = ('rgb', 'dsm'), ('rgb', 'dsm', 'ms'), ('rgb', 'irc')
SHARING = ('rgb', 'irc', 'dsm')  # three with one patch embedding
ALL = {'loss_reconstruction', 'loss_alignment', 'loss_independence', 'loss_modality'}
PREDICTED = ALL - {'loss_modality'}
SECOND = dict(
    masking=dict(ratio=0.6, information_aware=False, substitution=0.4, masked_modality='dsm'),
    targets=dict(normalize='whiten'),
    fusion=dict(shortcuts=True),
    decoder=dict(share=False, shortcuts=True),
    terms=dict(
        reconstruction=dict(weight=0.7, modality_weights=dict(dsm=0.3, ms=2.0)),
        alignment=dict(weight=2.0, temperature=0.3, negatives='image'),
        independence=dict(weight=1.5, of='class_tokens'),
        modality=dict(weight=0.4),
    ),
    compared_places=20,
)
SMALL = dict(fusion=dict(channels=8, layers=2, heads=2), decoder=dict(layers=2, heads=2))


def joined(first, second):
    """Two configs, the second one's values where both have some."""
    both = {
        key: joined(first[key], second[key]) for key in first.keys() & second.keys() if isinstance(first[key], dict)
    }
    return {**first, **second, **both}


def config_of(names, **options):
    """A tiny MSSDF."""
    config = dict(
        type='mmrs_ssl.MSSDF',
        data_preprocessor=dict(
            type='mmrs_ssl.ModalityPreprocessor', modalities={name: STATISTICS[name] for name in names}
        ),
        backbone=dict(
            type='VisionTransformer',
            arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=24),
            img_size=SIZE,
            patch_size=PATCH,
            patch_cfg=dict(padding=0),
            out_type='featmap',
        ),
    )
    return joined({**config, **SMALL}, options)


def model_of(names, **options):
    """In training mode; all parameters matter, and the teacher is another network."""
    model = build(config_of(names, **options), seed=0).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch_of(names, count=3, seed=0):
    """Raw images whose patches differ in contrast: 8 bits of rgb and irc, metres, 16 bits."""
    rng = torch.Generator().manual_seed(seed)
    inputs = {}
    for name in names:
        mean, std = (torch.tensor(STATISTICS[name][key])[:, None, None] for key in ('mean', 'std'))
        contrast = torch.rand(count, 1, *GRID, generator=rng).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
        noise = torch.randn(count, len(mean), *SIZE, generator=rng)
        image = mean + std * (1.5 * contrast * noise + torch.randn(count, len(mean), 1, 1, generator=rng))
        kind = dict(rgb=torch.uint8, irc=torch.uint8, dsm=torch.float32, ms=torch.int16)[name]
        inputs[name] = (image.clamp(0, 255).round() if kind == torch.uint8 else image).to(kind)
    return dict(inputs=inputs, data_samples=[DataSample() for _ in range(count)])


@pytest.fixture
def permutations(monkeypatch):
    """What torch.randperm really drew."""
    drawn, randperm = [], torch.randperm

    def spy(*args, **kwargs):
        drawn.append(randperm(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(torch, 'randperm', spy)
    return drawn


@pytest.fixture
def first_masks(monkeypatch):
    """The masks as they were really drawn, before any modality gave way."""
    drawn, draw_mask = [], cross_modal.draw_mask

    def spy(*args, **kwargs):
        drawn.append(draw_mask(*args, **kwargs).clone())
        return drawn[-1].clone()

    monkeypatch.setattr(cross_modal, 'draw_mask', spy)
    return drawn


def close(found, expected, what, rtol=1e-4, atol=1e-5):
    torch.testing.assert_close(found.double(), expected, rtol=rtol, atol=atol, msg=lambda text: f'{what}: {text}')


# The whole loss


@pytest.mark.parametrize(
    ('names', 'options'),
    [
        (TWO, {}),
        (
            TWO,
            dict(
                targets=dict(normalize='dimensions'),
                masking=dict(substitution=0.6),
                terms=dict(reconstruction=dict(modality_weights=dict(rgb=0.5))),
                share_patch_embed=False,
            ),
        ),
        (SHARING, dict(compared_places=30)),
        (THREE, {}),
        (THREE, SECOND),
        (ALIKE, dict(targets=dict(normalize='tokens'), decoder=dict(shortcuts=True))),
    ],
)
def test_every_term_and_gradient_is_what_the_pixels_and_masks_say(permutations, names, options):
    model, batch = model_of(names, **options), batch_of(names)
    data = model.data_preprocessor(batch, True)
    model.recording = True
    losses = model.loss(**data)
    kept = model.release_kept()
    statistics = {name: STATISTICS[name] for name in names}
    (chosen,) = permutations
    twin, expected, made = reference.step(model, batch['inputs'], statistics, kept.masks, chosen, options)

    told = reference.flat(options, dict.fromkeys(names, 1))
    visible = 24 - round(24 * told['ratio'])
    counts = [[visible - round(told['substitution'] * visible)] * 3, *[[visible] * 3] * (len(names) - 1)]
    assert sorted((~mask).sum(dim=1).tolist() for mask in kept.masks.values()) == counts
    assert list(losses) == list(expected)
    for name, loss in losses.items():
        close(loss, expected[name], name)
    for kind in ('targets', 'predictions'):
        for name in names:
            close(getattr(kept, kind)[name], made[kind][name], f'{kind} of {name}', atol=1e-4)
    for name in names:
        close(data['inputs'][name], made['images'][name], f'inputs of {name}')
        information = np.stack(
            [reference.score(image, **STATISTICS[name], patch=PATCH) for image in batch['inputs'][name]]
        )
        np.testing.assert_allclose(kept.information[name], information, rtol=1e-4)
    features = {}
    for branch, classes, maps in (
        ('student', made['classes'], made['tokens']),
        ('teacher', made['teacher_classes'], made['targets']),
    ):
        features |= {f'{branch}_{name}_class': classes[name] for name in names}
        features |= {f'{branch}_{name}_map': maps[name].mean(dim=1) for name in names}
    found = model.monitor().features
    assert found.keys() == features.keys()
    for name, rows in features.items():
        close(found[name], rows, name)

    sum(losses.values()).backward()
    sum(expected.values()).backward()
    gradients = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        if name.startswith('teacher.') or not parameter.requires_grad:
            assert parameter.grad is None, name
        else:
            close(parameter.grad, gradients[name].grad, name, rtol=1e-3)
            assert parameter.grad.abs().max() > 0, name


def test_positions_are_of_rows_and_columns():
    model = model_of(TWO)
    images = model.data_preprocessor(batch_of(TWO), True)['inputs']
    close(model.decoder_positions(images), reference.positions(GRID, 8), 'decoder')
    larger = {name: torch.zeros(1, image.shape[1], 64, 40) for name, image in images.items()}
    close(model.decoder_positions(larger), reference.positions((8, 5), 8), 'of another size')
    model.init_weights()
    close(model.backbone.pos_embed.data[0, 1:], reference.positions(GRID, 16), 'encoder')
    assert not model.backbone.pos_embed.data[0, 0].any()


# Masks


def many(names, count=400):
    """One place many times."""
    batch = batch_of(names, count=1, seed=5)
    inputs = {name: image.expand(count, -1, -1, -1) for name, image in batch['inputs'].items()}
    return dict(inputs=inputs, data_samples=[DataSample() for _ in range(count)])


@pytest.mark.parametrize('names', [TWO, THREE])
def test_informative_patches_are_masked_less_often(names):
    """As often as when drawn one after another by the probabilities of the paper, and evenly where that's asked for."""
    torch.manual_seed(0)
    batch = many(names)
    information = sum(reference.score(batch['inputs'][name][0], **STATISTICS[name], patch=PATCH) for name in names)
    probability = reference.probability(information)
    arrivals = np.random.default_rng(0).exponential(size=(10000, 24)) / probability  # the first 18 to arrive are masked
    often = (arrivals.argsort(axis=1).argsort(axis=1) < 18).mean(axis=0)
    for aware, expected in ((True, often), (False, np.full(24, 0.75))):
        model = model_of(names, masking=dict(substitution=0.0, information_aware=aware))
        masks = model.draw_masks(**model.data_preprocessor(batch, True))[1]
        for name, mask in masks.items():
            assert (mask.sum(dim=1) == 18).all()
            np.testing.assert_allclose(mask.double().mean(dim=0), expected, atol=0.075, err_msg=name)
        masked = torch.cat(list(masks.values())).double().mean(dim=0).numpy()
        gap = masked[probability == probability.max()].mean() - masked[probability == probability.min()].mean()
        assert gap > 0.2 if aware else abs(gap) < 0.05
        first, second = list(masks.values())[:2]
        together = (first & second).double().mean()  # drawn by themselves: about 0.75 * 0.75
        assert 0.5 < together < 0.65


@pytest.mark.parametrize(('names', 'share', 'hidden'), [(TWO, 0.4, 2), (THREE, 0.6, 4), (THREE, 0.1, 1)])
@pytest.mark.parametrize('fixed', [True, False])
def test_one_modality_masked_modality_where_the_others_see_too(first_masks, names, share, hidden, fixed):
    """Of its six visible patches the exact number, those first that another modality shows."""
    model = model_of(names, masking=dict(substitution=share, masked_modality=names[1] if fixed else None))
    data = model.data_preprocessor(batch_of(names, count=8), True)
    ways = []
    for _ in range(6 if fixed else 30):
        first_masks.clear()
        masks = model.draw_masks(**data)[1]
        before = dict(zip(names, first_masks, strict=True))
        (way,) = [name for name in names if not torch.equal(before[name], masks[name])]
        ways.append(way)
        for i in range(8):
            shown = {name: set(torch.nonzero(~mask[i]).flatten().tolist()) for name, mask in before.items()}
            left = set(torch.nonzero(~masks[way][i]).flatten().tolist())
            taken = shown[way] - left
            common = shown[way] & set.union(*(shown[name] for name in names if name != way))
            assert len(shown[way]) == 6
            assert left < shown[way]
            assert len(taken) == hidden
            assert len(taken & common) == min(hidden, len(common))
    assert set(ways) == ({names[1]} if fixed else set(names))
    if not fixed:
        assert min(ways.count(name) for name in names) >= 4  # of 30, drawn evenly


# Options


def losses_of(model, names=TWO, seed=7):
    data = model.data_preprocessor(batch_of(names), True)
    torch.manual_seed(seed)
    return {name: loss.item() for name, loss in model.loss(**data).items()}


def variant(base, names=TWO, **options):
    """A model with other options that has the parameters of ``base``, wherever it has such."""
    model = MODELS.build(config_of(names, **options)).train()
    model.teacher_is_updated = True
    own = model.state_dict()
    model.load_state_dict(
        {key: value for key, value in base.state_dict().items() if key in own and own[key].shape == value.shape},
        strict=False,
    )
    return model


FIXED = dict(masking=dict(masked_modality='rgb'))


@pytest.fixture(scope='module')
def base():
    return model_of(TWO, **FIXED)


@pytest.fixture(scope='module')
def base_losses(base):
    return losses_of(base)


@pytest.mark.parametrize(
    ('options', 'changed'),
    [
        (dict(), set()),
        (dict(masking=dict(ratio=0.6)), ALL),
        (dict(masking=dict(information_aware=False)), ALL),
        (dict(masking=dict(substitution=0.5)), ALL),
        (dict(masking=dict(masked_modality='dsm')), ALL),
        (dict(share_patch_embed=False), ALL),
        (dict(targets=dict(normalize='tokens')), {'loss_reconstruction'}),
        (dict(targets=dict(normalize='dimensions')), {'loss_reconstruction'}),
        (dict(targets=dict(normalize='whiten')), {'loss_reconstruction'}),
        (dict(fusion=dict(channels=16)), PREDICTED),
        (dict(fusion=dict(layers=1)), PREDICTED),
        (dict(fusion=dict(heads=1)), PREDICTED),
        (dict(fusion=dict(shortcuts=True)), PREDICTED),
        (dict(decoder=dict(layers=1)), PREDICTED),
        (dict(decoder=dict(heads=1)), PREDICTED),
        (dict(decoder=dict(shortcuts=True)), PREDICTED),
        (dict(decoder=dict(share=False)), PREDICTED),
        (dict(terms=dict(independence=dict(of='class_tokens'))), {'loss_independence'}),
        (dict(terms=dict(alignment=dict(temperature=0.2))), {'loss_alignment'}),
        (dict(terms=dict(alignment=dict(negatives='image'))), {'loss_alignment'}),
        (dict(compared_places=10), {'loss_alignment', 'loss_independence'}),
        (dict(terms=dict(reconstruction=dict(modality_weights=dict(rgb=0.5)))), {'loss_reconstruction'}),
        (dict(terms=dict(reconstruction=dict(modality_weights=dict(dsm=0.5)))), {'loss_reconstruction'}),
        (dict(teacher_momentum=0.5), set()),
    ],
    ids=lambda each: str(each if isinstance(each, dict) else sorted(each)),
)
def test_an_option_changes_its_terms_and_no_others(base, base_losses, options, changed):
    losses = losses_of(variant(base, **joined(FIXED, options)))
    assert {name for name in ALL if losses[name] != base_losses[name]} == changed
    assert all(losses[name] != pytest.approx(base_losses[name], rel=1e-5) for name in changed)


@pytest.mark.parametrize('name', reference.WEIGHTS)
def test_a_weight_scales_its_term_and_none_removes_it(base, base_losses, name):
    weight = reference.WEIGHTS[name]
    doubled = losses_of(variant(base, **FIXED, terms={name: dict(weight=2 * weight)}))
    without = losses_of(variant(base, **FIXED, terms={name: dict(weight=0)}))
    own = f'loss_{name}'
    assert doubled.pop(own) == pytest.approx(2 * base_losses[own], rel=1e-6)
    assert doubled == without == {key: value for key, value in base_losses.items() if key != own}


@pytest.mark.parametrize(('names', 'other'), [(ALIKE, 'irc'), (TWO, 'dsm')])
def test_a_shared_patch_embedding_is_the_backbones(names, other):
    """Patch embeddings of their own that are the backbone's (of one band the sum of its bands) give the same terms."""
    own = model_of(names, **FIXED, share_patch_embed=False)
    shared = losses_of(variant(own, names, **FIXED), names)
    different = losses_of(own, names)
    assert all(shared[name] != different[name] for name in ALL)
    for parts in (dict(backbone=own.backbone, patch_embeds=own.patch_embeds), own.teacher.module):
        source, target = parts['backbone'].patch_embed.projection, parts['patch_embeds'][other].projection
        bands = target.in_channels
        target.weight.data = source.weight.data if bands == 3 else source.weight.data.sum(dim=1, keepdim=True)
        target.bias.data = source.bias.data
    assert losses_of(own, names) == pytest.approx(shared, rel=1e-4)


def test_predictions_of_modalities_are_alike_at_the_start():
    """With one decoder only the mask tokens differ, so that alignment and reconstruction pull the same way."""
    cosines = {}
    for share in (True, False):
        model = build(config_of(TWO, decoder=dict(share=share)), seed=0).train()
        model.recording = True
        model.loss(**model.data_preprocessor(batch_of(TWO), True))
        rgb, dsm = model.release_kept().predictions.values()
        cosines[share] = torch.nn.functional.cosine_similarity(rgb, dsm, dim=-1).mean().item()
    assert cosines[True] > 0.99
    assert abs(cosines[False]) < 0.5


def test_momentum_is_the_weight_of_the_old_teacher(base, base_losses):
    """It acts after a step, and on the targets alone."""
    after = {}
    for momentum in (0.5, 0.9):
        model = variant(base, **FIXED, teacher_momentum=momentum)
        old, new = copy.deepcopy(model.teacher.module), model.student_parts()
        model.update_teacher()
        for name, value in model.teacher.module.named_parameters():
            expected = momentum * old.get_parameter(name).double() + (1 - momentum) * new.get_parameter(name).double()
            close(value.data, expected.data, name)
        after[momentum] = losses_of(model)
    for losses in (after[0.9], base_losses):
        assert {name for name in ALL if losses[name] != after[0.5][name]} == {'loss_reconstruction'}
