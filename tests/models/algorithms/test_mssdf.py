"""MSSDF: batched fusion and decoding against single samples, the terms against formulas, bad input."""

import copy

import numpy as np
import pytest
import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding

from mmrs_ssl.models.backbones.tokens import sincos_positions, visible_places, whitened
from mmrs_ssl.models.losses.alignment import linear_cka, linear_hsic, symmetric_info_nce
from mmrs_ssl.models.losses.reconstruction import masked_token_error
from mmrs_ssl.models.necks.modalities import Fused
from mmrs_ssl.synthetic.scene import make_split
from tests.conftest import build, build_mssdf, make_modalities, mssdf_config
from tests.models.algorithms.mssdf_reference import flat, student

TWO, THREE = dict(rgb=3, dsm=1), dict(rgb=3, dsm=1, irc=3)
UNEQUAL = dict(rgb=3, dsm=1, ms=5)


def batch_of(model, modalities, **options):
    return model.data_preprocessor(make_modalities(modalities, **options), True)


def targets_of(model, inputs):
    return model.targets(model.teacher.module, inputs).tokens


# Terms


def test_terms_are_the_golden_ones(mssdf_golden):
    first, second = (torch.from_numpy(mssdf_golden[f'align/{name}']) for name in 'ab')
    for found, key in (
        (symmetric_info_nce(first, second, 0.07), 'align/loss_t0.07'),
        (linear_hsic(first, second), 'hsic/loss'),
        (
            masked_token_error({'a': first[None]}, {'a': second[None]}, {'a': torch.ones(1, 12)}, {'a': 1.0}),
            'latent/loss',
        ),
    ):
        np.testing.assert_allclose(found.item(), mssdf_golden[key], rtol=1e-5)


def test_alignment_by_formula():
    first, second = torch.randn(7, 5).double(), torch.randn(7, 5).double()
    total = 0.0
    for a, b in ((first, second), (second, first)):
        for i in range(7):
            cosines = [float(a[i] @ b[j] / (a[i].norm() * b[j].norm())) / 0.07 for j in range(7)]
            total += np.log(np.sum(np.exp(cosines))) - cosines[i]
    assert symmetric_info_nce(first, second, 0.07).item() == pytest.approx(total / 14, rel=1e-5)


def test_independence_by_formula():
    first, second = torch.randn(6, 4), torch.randn(6, 3)
    centring = torch.eye(6) - 1 / 6
    kernels = [centring @ rows @ rows.T @ centring for rows in (first, second)]
    assert linear_hsic(first, second).item() == pytest.approx(
        float(torch.trace(kernels[0] @ kernels[1])) / 25, rel=1e-4
    )
    assert linear_hsic(first, torch.ones(6, 3)).item() == pytest.approx(0, abs=1e-9)
    for loss in (linear_hsic, linear_cka):
        with pytest.raises(ValueError, match='batch of 2 or more'):
            loss(first[:1], second[:1])


def test_independence_of_class_tokens_by_formula():
    """Kernels' alignment, whatever the scale: 1 of the same up to a rotation, 0 of a constant."""
    first, second = torch.randn(6, 4), torch.randn(6, 3)
    a, b = (rows - rows.mean(0) for rows in (first, second))
    kernels = [a @ a.T, b @ b.T]
    expected = float((kernels[0] * kernels[1]).sum() / (kernels[0].norm() * kernels[1].norm()))
    assert linear_cka(first, second).item() == pytest.approx(expected, rel=1e-4)
    assert linear_cka(100 * first, 0.01 * second).item() == pytest.approx(expected, rel=1e-4)
    rotation = torch.linalg.qr(torch.randn(4, 4)).Q
    assert linear_cka(first, first @ rotation + 3).item() == pytest.approx(1, rel=1e-4)
    constant = torch.ones(6, 3, requires_grad=True)
    linear_cka(first, constant).backward()
    assert linear_cka(first, constant).item() == 0
    assert constant.grad.isfinite().all()


def test_negatives_of_the_same_image():
    """Rows of each image by themselves, then the mean over images."""
    first, second = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    alone = [symmetric_info_nce(first[i], second[i], 0.1).item() for i in range(3)]
    assert symmetric_info_nce(first, second, 0.1).item() == pytest.approx(np.mean(alone), rel=1e-5)


def test_reconstruction_counts_masked_places_of_weighted_modalities():
    predictions, targets = ({name: torch.randn(2, 6, 3) for name in 'ab'} for _ in range(2))
    masks = dict(a=torch.tensor([[1, 1, 0, 0, 0, 0]] * 2).bool(), b=torch.tensor([[0, 1, 1, 1, 0, 0]] * 2).bool())
    expected, weights = 0.0, dict(a=0.2, b=1.0)
    for name, mask in masks.items():
        errors = [
            float(((predictions[name][i, j] - targets[name][i, j]) ** 2).mean()) for i, j in mask.nonzero().tolist()
        ]
        expected += weights[name] * np.mean(errors)
    assert masked_token_error(predictions, targets, masks, weights).item() == pytest.approx(expected, rel=1e-5)


# The whole against one sample after another


@pytest.mark.parametrize(('training', 'shortcuts'), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize('modalities', [TWO, THREE])
def test_batched_predictions_are_those_of_single_samples(modalities, training, shortcuts):
    options = dict(fusion=dict(channels=24, heads=2, shortcuts=shortcuts), decoder=dict(heads=2, shortcuts=shortcuts))
    model = build_mssdf(modalities, **options).train(training)
    with torch.no_grad():  # norms and biases that matter
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    data = batch_of(model, modalities)
    torch.manual_seed(3)
    _, masks, places = model.draw_masks(**data)
    counts = torch.stack([~mask for mask in masks.values()]).any(dim=0).sum(dim=1)
    assert len(set(counts.tolist())) > 1  # samples differ in how many places are seen
    with torch.no_grad():
        classes, tokens = model.visible_tokens(data['inputs'], places)
        positions = model.decoder_positions(data['inputs'])
        predictions = model.decoder(model.fusion(classes, tokens, places, masks, positions), positions)
        double = copy.deepcopy(model).double()
        for i in range(4):
            images = {name: image[i].double() for name, image in data['inputs'].items()}
            own = {name: mask[i] for name, mask in masks.items()}
            _, _, alone = student(double, images, own, flat(options, modalities))
            for name in modalities:
                torch.testing.assert_close(predictions[name][i].double(), alone[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('modalities', [TWO, THREE])
def test_padding_changes_no_output(modalities):
    """A sample's predictions are the same however long the padding is, and whatever the padded queries hold."""
    model = build_mssdf(modalities).eval()
    data = batch_of(model, modalities)
    torch.manual_seed(3)
    _, masks, places = model.draw_masks(**data)
    positions = model.decoder_positions(data['inputs'])
    with torch.no_grad():
        classes, tokens = model.visible_tokens(data['inputs'], places)
        given = model.fusion(classes, tokens, places, masks, positions)
        fused, fused_places, padding = given
        whole = model.decoder(given, positions)
        seen = torch.stack([~mask for mask in masks.values()]).any(dim=0).sum(dim=1)
        assert fused.shape[1] == min(16, sum(each.shape[1] for each in places.values()))
        assert padding.any()
        assert torch.equal((~padding).sum(dim=1), seen)
        for i, count in enumerate(seen.tolist()):
            own = {name: torch.nonzero(~mask[i]).flatten().tolist() for name, mask in masks.items()}
            assert fused_places[i, :count].tolist() == sorted(set().union(*own.values()))
            short = model.decoder(Fused(*(each[i : i + 1, :count] for each in given)), positions)
            for name in modalities:
                torch.testing.assert_close(whole[name][i], short[name][0], rtol=1e-5, atol=1e-5)
        fused[padding] = 100.0  # garbage
        spoilt = model.decoder(given, positions)
        fused[~padding] = 100.0
        changed = model.decoder(given, positions)
    for name in modalities:
        torch.testing.assert_close(spoilt[name], whole[name], rtol=1e-5, atol=1e-5)
        assert (changed[name] - whole[name]).abs().max() > 1e-3


def test_visible_places_are_in_order_and_padded_with_masked_ones():
    mask = torch.tensor([[True, False, True, False], [False, True, True, True]])
    assert visible_places(mask, 1).tolist() == [[1], [0]]
    assert visible_places(mask, 3).tolist() == [[1, 3, 0], [0, 1, 2]]


def test_positions_are_mmpretrains_on_a_square_grid():
    torch.testing.assert_close(sincos_positions((5, 5), 24), build_2d_sincos_position_embedding(5, 24)[0])
    with pytest.raises(ValueError, match='positions of width 18, expected a multiple of 4'):
        sincos_positions((5, 5), 18)


# Masks


def test_masks_share_their_probabilities_and_differ():
    model = build_mssdf(THREE, masking=dict(substitution=0.0)).train()
    information, masks, places = model.draw_masks(**batch_of(model, THREE))
    assert {name: tuple(each.shape) for name, each in places.items()} == {name: (4, 4) for name in THREE}
    assert {name: tuple(each.shape) for name, each in information.items()} == {name: (4, 16) for name in THREE}
    assert all((mask.sum(dim=1) == 12).all() for mask in masks.values())
    assert not torch.equal(masks['rgb'], masks['dsm'])


@pytest.mark.parametrize('masked_modality', ['rgb', 'dsm', None])
def test_one_modality_masked_modality(masked_modality):
    model = build_mssdf(TWO, masking=dict(substitution=0.5, masked_modality=masked_modality)).train()
    data = batch_of(model, TWO)
    counts = []
    for _ in range(20):
        _, masks, _ = model.draw_masks(**data)
        counts.append({name: set(mask.sum(dim=1).tolist()) for name, mask in masks.items()})
    ways = {next(name for name, count in each.items() if count == {14}) for each in counts}
    assert ways == ({masked_modality} if masked_modality else {'rgb', 'dsm'})
    assert all({12} in each.values() for each in counts)


# Training


@pytest.mark.parametrize('modalities', [TWO, THREE])
def test_steps_lower_the_reconstruction_and_move_the_teacher(modalities):
    model = build_mssdf(modalities, teacher_momentum=0.9).train()
    start = copy.deepcopy(dict(model.teacher.module.named_parameters()))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    data = batch_of(model, modalities)
    first = last = None
    for _ in range(25):
        losses = model.loss(**data)
        assert set(losses) == {f'loss_{name}' for name in ('reconstruction', 'alignment', 'independence', 'modality')}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        model.update_teacher()
        last = {name: value.item() for name, value in losses.items()}
        first = first or last
    assert last['loss_reconstruction'] < 0.8 * first['loss_reconstruction']
    assert last['loss_modality'] < first['loss_modality']
    assert np.isfinite(list(last.values())).all()
    moved = dict(model.teacher.module.named_parameters())
    assert not torch.equal(moved['backbone.layers.0.attn.qkv.weight'], start['backbone.layers.0.attn.qkv.weight'])
    assert torch.equal(moved['backbone.pos_embed'], start['backbone.pos_embed'])  # fixed
    features = model.monitor().features
    assert len(features) == 4 * len(modalities)
    assert all(rows.shape == (4, 64) for rows in features.values())


def test_tokens_tell_what_patches_show_more_than_where_they_are():
    """At the start; as mmpretrain draws patch embeddings positions have the larger share."""
    model = build_mssdf(dict(rgb=3, irc=3))
    pictures = torch.from_numpy(make_split(4, size=64)[0]).permute(0, 3, 1, 2)
    inputs = model.data_preprocessor(dict(inputs=dict(rgb=pictures, irc=pictures.flip(1))), True)['inputs']
    for name, tokens in targets_of(model, inputs).items():
        of_places, of_patches = tokens.mean(dim=0).var(dim=0).mean(), tokens.var(dim=0).mean()
        assert of_patches > 7 * of_places, name


def test_places_attend_to_themselves_first_and_layers_differ():
    """nn.TransformerEncoder alone would repeat one layer's weights."""
    model = build_mssdf(TWO)
    for encoder in (model.fusion.transformer, *model.decoder.transformers.values()):
        for layer in encoder.layers:
            query, key, value = layer.self_attn.in_proj_weight.chunk(3)
            assert torch.equal(query, key)
            assert not torch.equal(query, value)
        first, second = encoder.layers[:2]
        assert not torch.equal(first.linear1.weight, second.linear1.weight)
        assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


def test_a_pretrained_backbone_is_kept(tmp_path):
    source = build_mssdf(TWO, seed=1)
    source.backbone.pos_embed.data += 0.5
    torch.save(dict(state_dict=source.backbone.state_dict()), tmp_path / 'backbone.pth')
    config = mssdf_config(TWO)
    config['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))
    model = build(config, seed=2)
    for key, value in source.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], value), key
        assert torch.equal(model.teacher.module['backbone'].state_dict()[key], value), key


def test_every_parameter_takes_part():
    model = build_mssdf(THREE).train()
    sum(model.loss(**batch_of(model, THREE)).values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not name.startswith('teacher.'):
            assert parameter.grad is not None, name
    assert all(parameter.grad is None for parameter in model.teacher.parameters())


def test_terms_are_weighted_and_switched_off():
    terms = dict(alignment=dict(weight=0), independence=dict(weight=2.0))
    model = build_mssdf(TWO, terms=terms).train()
    data = batch_of(model, TWO)
    torch.manual_seed(0)
    losses = model.loss(**data)
    assert set(losses) == {'loss_reconstruction', 'loss_independence', 'loss_modality'}
    model.terms['independence'].weight = 1.0
    torch.manual_seed(0)
    torch.testing.assert_close(losses['loss_independence'], 2 * model.loss(**data)['loss_independence'])


def test_class_tokens_are_detached_where_they_are_added():
    """Reconstruction reaches the class tokens through attention alone."""
    model = build_mssdf(TWO).train()
    data = batch_of(model, TWO)
    inputs = data['inputs']
    _, masks, places = model.draw_masks(**data)
    classes, tokens = model.visible_tokens(inputs, places)
    for each in (*classes.values(), *tokens.values()):
        each.retain_grad()
    model.fusion(classes, tokens, places, masks, model.decoder_positions(inputs)).tokens.sum().backward()
    assert all(each.grad is None or not each.grad.any() for each in classes.values())
    assert all(each.grad.abs().max() > 0 for each in tokens.values())


@pytest.mark.parametrize(('normalize', 'over'), [('tokens', -1), ('dimensions', (0, 1))])
def test_targets_can_be_normalized(normalize, over):
    model = build_mssdf(TWO, targets=dict(normalize=normalize)).train()
    tokens = targets_of(model, batch_of(model, TWO)['inputs'])['dsm']
    mean = tokens.mean(over)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.var(over, correction=0), torch.ones_like(mean), atol=1e-3, rtol=0)
    plain = targets_of(build_mssdf(TWO).train(), batch_of(model, TWO)['inputs'])['dsm']
    expected = (plain - plain.mean(over, keepdim=True)) / plain.std(over, keepdim=True, correction=0)
    torch.testing.assert_close(tokens, expected, atol=1e-3, rtol=1e-3)


def test_targets_can_be_whitened():
    """Nothing is correlated, and along the principal axes the variance is what shrinkage leaves of 1."""
    model = build_mssdf(TWO, targets=dict(normalize='whiten')).train()
    inputs = batch_of(model, TWO, count=16)['inputs']
    white = targets_of(model, inputs)['dsm']
    plain = targets_of(build_mssdf(TWO).train(), inputs)['dsm']
    rows, given = (tokens.flatten(0, 1).double().numpy() for tokens in (white, plain))
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
    variances = np.linalg.eigvalsh(np.cov(given.T, bias=True))
    left = variances / (variances + 0.02 * variances.mean())
    assert left.max() > 0.9
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(rows.T, bias=True)), left, atol=1e-3)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(whitened(plain), white, atol=1e-4, rtol=1e-4)
    assert whitened(torch.zeros(2, 4, 8)).abs().max() == 0  # of a teacher that has collapsed


def test_backbone_has_exactly_mmpretrains_names():
    model = build_mssdf(UNEQUAL)
    plain = set(build_mssdf(TWO).backbone.state_dict())
    assert set(model.backbone.state_dict()) == plain
    assert set(model.patch_embeds) == {'dsm', 'ms'}
    assert model.patch_embeds['dsm'].projection.weight.shape[1] == 1


@pytest.mark.parametrize(
    ('bands', 'share', 'common'),
    [
        (dict(rgb=3, dsm=1), None, 3),
        (dict(dsm=1, rgb=3), None, 3),
        (dict(vv=1, dsm=1), None, 1),
        (dict(rgb=3, irc=3, dsm=1), True, 3),
        (dict(rgb=3, dsm=1), False, None),
        (dict(rgb=3, ms=10), None, None),
        (dict(rgb=3, ms=10, dsm=1), None, None),
    ],
)
def test_modalities_share_a_patch_embedding_where_bands_allow_it(bands, share, common):
    model = build_mssdf(bands, share_patch_embed=share).train()
    assert model.backbone.patch_embed.projection.in_channels == (common or next(iter(bands.values())))
    assert list(model.patch_embeds) == ([] if common else list(bands)[1:])
    assert np.isfinite(sum(model.loss(**batch_of(model, bands)).values()).item())


def test_patch_embeddings_that_cannot_be_shared_are_said(monkeypatch):
    said = []
    monkeypatch.setattr('mmrs_ssl.models.backbones.modality_embeds.print_log', lambda text, **_: said.append(text))
    build_mssdf(TWO)
    assert said == []
    build_mssdf(UNEQUAL)
    assert said == ['modalities with unequal bands (rgb 3, dsm 1, ms 5): each has a patch embedding of its own']
    with pytest.raises(ValueError, match=r'share_patch_embed=True needs .* rgb 3, dsm 1, ms 5'):
        build_mssdf(UNEQUAL, share_patch_embed=True)


# Bad input


def test_mask_ratios_that_leave_nothing_visible():
    model = build_mssdf(TWO, masking=dict(ratio=0.99)).train()  # of 16 patches
    with pytest.raises(ValueError, match=r'masking\.ratio=0\.99 masks 16 of 16 patches'):
        model.loss(**batch_of(model, TWO))
    for options in (dict(ratio=1.0), dict(ratio=0.75, substitution=1.0)):
        with pytest.raises(ValueError, match=r'ModalityMasking: (ratio|substitution)=1\.0, expected .* below 1'):
            build_mssdf(TWO, masking=options)


def test_impossible_options():
    for options, message in (
        (dict(terms=dict(independence=dict(of='tokens'))), "of='tokens' is not one of"),
        (dict(terms=dict(alignment=dict(negatives='all'))), "negatives='all' is not one of"),
        (dict(masking=dict(masked_modality='nir')), r"masking\.masked_modality='nir' is not one of"),
        (dict(targets=dict(normalize='patches')), r"targets\.normalize='patches' is not one of"),
        (dict(terms=dict(reconstruction=dict(modality_weights=dict(nir=1)))), "modality_weights='nir' is not one of"),
        (dict(terms=dict(contrast=dict(weight=1))), "'contrast' is not one of reconstruction, alignment"),
        (dict(decoder=dict(channels=20)), 'model.decoder.channels=20, but the width of the fusion is 24'),
    ):
        with pytest.raises(ValueError, match=message):
            build_mssdf(TWO, **options)
    alone = dict(rgb=3)
    with pytest.raises(ValueError, match=r'masking\.substitution=0\.1 .* two or more'):
        build_mssdf(alone)
    with pytest.raises(ValueError, match='alignment, independence, modality compare modalities, but rgb is the only'):
        build_mssdf(alone, masking=dict(substitution=0))


def test_a_single_modality_is_reconstructed_alone():
    terms = {name: dict(weight=0) for name in ('alignment', 'independence', 'modality')}
    model = build_mssdf(dict(rgb=3), terms=terms, masking=dict(substitution=0.0)).train()
    losses = model.loss(**batch_of(model, dict(rgb=3)))
    assert list(losses) == ['loss_reconstruction']
    losses['loss_reconstruction'].backward()
    assert model.backbone.patch_embed.projection.weight.grad.abs().max() > 0
