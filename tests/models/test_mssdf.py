"""MSSDF: batched fusion and decoding against single samples, the terms against formulas, bad input."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmrs_ssl.datasets.synthetic import make_split
from mmrs_ssl.models.algorithms.mssdf import reconstruction
from mmrs_ssl.models.losses.alignment import linear_hsic, symmetric_info_nce
from mmrs_ssl.models.tokens import visible_places, whitened
from tests.conftest import build, build_mssdf, make_modalities, mssdf_config

TWO, THREE = dict(rgb=3, dsm=1), dict(rgb=3, dsm=1, irc=3)


def batch_of(model, modalities, **options):
    return model.data_preprocessor(make_modalities(modalities, **options), True)['inputs']


# Terms


def test_terms_are_the_golden_ones(mssdf_golden):
    first, second = (torch.from_numpy(mssdf_golden[f'align/{name}']) for name in 'ab')
    for found, key in (
        (symmetric_info_nce(first, second, 0.07), 'align/loss_t0.07'),
        (linear_hsic(first, second), 'hsic/loss'),
        (reconstruction({'a': first[None]}, {'a': second[None]}, {'a': torch.ones(1, 12)}, {'a': 1.0}), 'latent/loss'),
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
    with pytest.raises(ValueError, match='batch of 2 or more'):
        linear_hsic(first[:1], second[:1])


def test_reconstruction_counts_masked_places_of_weighted_modalities():
    predictions, targets = ({name: torch.randn(2, 6, 3) for name in 'ab'} for _ in range(2))
    masks = dict(a=torch.tensor([[1, 1, 0, 0, 0, 0]] * 2).bool(), b=torch.tensor([[0, 1, 1, 1, 0, 0]] * 2).bool())
    expected, weights = 0.0, dict(a=0.2, b=1.0)
    for name, mask in masks.items():
        errors = [
            float(((predictions[name][i, j] - targets[name][i, j]) ** 2).mean()) for i, j in mask.nonzero().tolist()
        ]
        expected += weights[name] * np.mean(errors)
    assert reconstruction(predictions, targets, masks, weights).item() == pytest.approx(expected, rel=1e-5)


# The whole against one sample after another


def layers_alone(encoder: nn.TransformerEncoder, tokens):
    """Pre-norm transformer layers on one sequence (N, d), written out."""
    for layer in encoder.layers:
        attn = layer.self_attn
        normed = layer.norm1(tokens)
        query, key, value = (normed @ attn.in_proj_weight.T + attn.in_proj_bias).chunk(3, dim=-1)
        heads = []
        for q, k, v in zip(*(part.chunk(attn.num_heads, dim=-1) for part in (query, key, value)), strict=True):
            heads.append(torch.softmax(q @ k.T / q.shape[-1] ** 0.5, dim=-1) @ v)
        tokens = tokens + attn.out_proj(torch.cat(heads, dim=-1))
        tokens = tokens + layer.linear2(F.gelu(layer.linear1(layer.norm2(tokens))))
    return encoder.norm(tokens)


def one_sample(model, images, masks):
    """The predictions (L, D) of every modality for one sample, without padding and without batches."""
    backbone = model.backbone
    positions = model.decoder_positions({name: image[None] for name, image in images.items()})
    sequence = []
    for name, image in images.items():
        embedding = dict(model.patch_embeds.items()).get(name, backbone.patch_embed)
        patches = F.conv2d(image[None], embedding.projection.weight, embedding.projection.bias, stride=16)
        tokens = patches[0].flatten(1).T + backbone.pos_embed[0, 1:]
        places = [place for place in range(len(tokens)) if not masks[name][place]]
        tokens = torch.cat((backbone.cls_token[0] + backbone.pos_embed[0, :1], tokens[places]))[None]
        for layer in backbone.layers:
            tokens = layer(tokens)
        tokens = backbone.ln1(tokens)[0]
        sequence.append(model.to_decoder(tokens[1:] + tokens[0]) + positions[places])
    seen = [place for place in range(len(positions)) if any(not mask[place] for mask in masks.values())]
    queries = model.fusion_query + positions[seen]
    if model.shortcuts:
        rows = {name: iter(part) for name, part in zip(images, sequence, strict=True)}
        own = [[next(rows[name]) for name, mask in masks.items() if not mask[place]] for place in seen]
        queries = queries + torch.stack([torch.stack(tokens).mean(0) for tokens in own])
    fused = layers_alone(model.fusion, torch.cat((*sequence, queries)))[-len(seen) :]
    made = {}
    for name in images:
        asked = model.mask_tokens[name] + positions
        if model.shortcuts:
            asked[seen] += fused
        decoded = layers_alone(model.decoders[name], torch.cat((fused + positions[seen], asked)))
        made[name] = model.predictors[name](decoded[len(seen) :])
    return made


@pytest.mark.parametrize(('training', 'shortcuts'), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize('modalities', [TWO, THREE])
def test_batched_predictions_are_those_of_single_samples(modalities, training, shortcuts):
    model = build_mssdf(modalities, shortcuts=shortcuts).train(training)
    with torch.no_grad():  # norms and biases that matter
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    inputs = batch_of(model, modalities)
    torch.manual_seed(3)
    _, masks = model.draw_masks(inputs)
    counts = torch.stack([~mask for mask in masks.values()]).any(dim=0).sum(dim=1)
    assert len(set(counts.tolist())) > 1  # samples differ in how many places are seen
    with torch.no_grad():
        classes, tokens, places = model.visible_tokens(inputs, masks)
        positions = model.decoder_positions(inputs)
        predictions = model.decode(*model.fuse(classes, tokens, places, masks, positions), positions)
        for i in range(4):
            alone = one_sample(
                model,
                {name: image[i] for name, image in inputs.items()},
                {name: mask[i] for name, mask in masks.items()},
            )
            for name in modalities:
                torch.testing.assert_close(predictions[name][i], alone[name], rtol=1e-5, atol=1e-5)


def test_padding_changes_no_output():
    """A sample's predictions are the same whoever shares its batch, and whatever the padded queries hold."""
    model = build_mssdf(TWO).eval()
    inputs = batch_of(model, TWO)
    torch.manual_seed(3)
    _, masks = model.draw_masks(inputs)
    positions = model.decoder_positions(inputs)

    def predict(rows):
        part = {name: image[rows] for name, image in inputs.items()}
        part_masks = {name: mask[rows] for name, mask in masks.items()}
        classes, tokens, places = model.visible_tokens(part, part_masks)
        fused, fused_places, padding = model.fuse(classes, tokens, places, part_masks, positions)
        return fused, fused_places, padding, model.decode(fused, fused_places, padding, positions)

    with torch.no_grad():
        fused, fused_places, padding, whole = predict(slice(None))
        assert padding.any()
        short = int(padding.sum(dim=1).argmax())
        _, _, none, alone = predict(slice(short, short + 1))
        assert not none.any()
        for name in TWO:
            torch.testing.assert_close(whole[name][short], alone[name][0], rtol=1e-5, atol=1e-5)
        fused[padding] = 100.0  # garbage
        spoilt = model.decode(fused, fused_places, padding, positions)
        fused[~padding] = 100.0
        changed = model.decode(fused, fused_places, padding, positions)
    for name in TWO:
        torch.testing.assert_close(spoilt[name], whole[name], rtol=1e-5, atol=1e-5)
        assert (changed[name] - whole[name]).abs().max() > 1e-3


def test_visible_places_are_in_order_and_padded_with_masked_ones():
    mask = torch.tensor([[True, False, True, False], [False, True, True, True]])
    assert visible_places(mask).tolist() == [[1, 3], [0, 1]]
    assert visible_places(mask, 3).tolist() == [[1, 3, 0], [0, 1, 2]]


# Masks


def test_masks_share_their_probabilities_and_differ():
    model = build_mssdf(THREE, substitution=0.0).train()
    inputs = batch_of(model, THREE)
    information, masks = model.draw_masks(inputs)
    assert {name: tuple(each.shape) for name, each in information.items()} == {name: (4, 16) for name in THREE}
    assert all((mask.sum(dim=1) == 12).all() for mask in masks.values())
    assert not torch.equal(masks['rgb'], masks['dsm'])


@pytest.mark.parametrize('gives_way', ['rgb', 'dsm', None])
def test_one_modality_gives_way(gives_way):
    model = build_mssdf(TWO, substitution=0.5, gives_way=gives_way).train()
    inputs = batch_of(model, TWO)
    counts = []
    for _ in range(20):
        _, masks = model.draw_masks(inputs)
        counts.append({name: set(mask.sum(dim=1).tolist()) for name, mask in masks.items()})
    ways = {next(name for name, count in each.items() if count == {14}) for each in counts}
    assert ways == ({gives_way} if gives_way else {'rgb', 'dsm'})
    assert all({12} in each.values() for each in counts)


def test_information_is_of_the_pixels_as_they_were():
    """8 bits as they are, metres between two deviations; not the normalised values."""
    model = build_mssdf(TWO).train()
    data = make_modalities(TWO)
    inputs = model.data_preprocessor(data, True)['inputs']
    assert torch.equal(model.data_preprocessor.byte_scale('rgb', inputs['rgb']), data['inputs']['rgb'])
    metres = data['inputs']['dsm']
    expected = ((metres - (5 - 2 * 4)) / (4 * 4) * 255).clamp(0, 255)
    torch.testing.assert_close(model.data_preprocessor.byte_scale('dsm', inputs['dsm']), expected, rtol=1e-5, atol=1e-3)


# Training


@pytest.mark.parametrize('modalities', [TWO, THREE])
def test_steps_lower_the_reconstruction_and_move_the_teacher(modalities):
    model = build_mssdf(modalities, teacher_momentum=0.9).train()
    start = copy.deepcopy(dict(model.teacher.module.named_parameters()))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    inputs = batch_of(model, modalities)
    first = last = None
    for _ in range(25):
        losses = model.loss(inputs, [])
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
    for rows in model.features.values():
        assert rows.shape == (4 * len(modalities), 64)


def test_tokens_tell_what_patches_show_more_than_where_they_are():
    """At the start; as mmpretrain draws patch embeddings positions have the larger share."""
    model = build_mssdf(dict(rgb=3, irc=3))
    pictures = torch.from_numpy(make_split(4, size=64)[0]).permute(0, 3, 1, 2)
    inputs = model.data_preprocessor(dict(inputs=dict(rgb=pictures, irc=pictures.flip(1))), True)['inputs']
    for name, tokens in model.teacher_tokens(inputs).items():
        of_places, of_patches = tokens.mean(dim=0).var(dim=0).mean(), tokens.var(dim=0).mean()
        assert of_patches > 7 * of_places, name


def test_places_attend_to_themselves_first_and_layers_differ():
    """nn.TransformerEncoder alone would repeat one layer's weights."""
    model = build_mssdf(TWO)
    for encoder in (model.fusion, *model.decoders.values()):
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
    sum(model.loss(batch_of(model, THREE), []).values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not name.startswith('teacher.'):
            assert parameter.grad is not None, name
    assert all(parameter.grad is None for parameter in model.teacher.parameters())


def test_terms_are_weighted_and_switched_off():
    model = build_mssdf(TWO, loss_weights=dict(alignment=0, independence=2.0)).train()
    inputs = batch_of(model, TWO)
    torch.manual_seed(0)
    losses = model.loss(inputs, [])
    assert set(losses) == {'loss_reconstruction', 'loss_independence', 'loss_modality'}
    model.loss_weights['independence'] = 1.0
    torch.manual_seed(0)
    torch.testing.assert_close(losses['loss_independence'], 2 * model.loss(inputs, [])['loss_independence'])


def test_class_tokens_are_detached_where_they_are_added():
    """Reconstruction reaches the class tokens through attention alone."""
    model = build_mssdf(TWO, loss_weights=dict(alignment=0, independence=0, modality=0)).train()
    inputs = batch_of(model, TWO)
    _, masks = model.draw_masks(inputs)
    classes, tokens, places = model.visible_tokens(inputs, masks)
    for each in (*classes.values(), *tokens.values()):
        each.retain_grad()
    model.fuse(classes, tokens, places, masks, model.decoder_positions(inputs))[0].sum().backward()
    assert all(each.grad is None or not each.grad.any() for each in classes.values())
    assert all(each.grad.abs().max() > 0 for each in tokens.values())


@pytest.mark.parametrize(('normalise', 'over'), [('tokens', -1), ('dimensions', (0, 1))])
def test_targets_can_be_normalised(normalise, over):
    model = build_mssdf(TWO, normalise_targets=normalise).train()
    tokens = model.teacher_tokens(batch_of(model, TWO))['dsm']
    mean = tokens.mean(over)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.var(over, correction=0), torch.ones_like(mean), atol=1e-3, rtol=0)
    plain = build_mssdf(TWO).train().teacher_tokens(batch_of(model, TWO))['dsm']
    expected = (plain - plain.mean(over, keepdim=True)) / plain.std(over, keepdim=True, correction=0)
    torch.testing.assert_close(tokens, expected, atol=1e-3, rtol=1e-3)


def test_targets_can_be_whitened():
    """Nothing is correlated, and along the principal axes the variance is what shrinkage leaves of 1."""
    model = build_mssdf(TWO, normalise_targets='whiten').train()
    inputs = batch_of(model, TWO, count=16)
    white = model.teacher_tokens(inputs)['dsm']
    plain = build_mssdf(TWO).train().teacher_tokens(inputs)['dsm']
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
    model = build_mssdf(THREE)
    plain = set(build_mssdf(TWO).backbone.state_dict())
    assert set(model.backbone.state_dict()) == plain
    assert set(model.patch_embeds) == {'dsm', 'irc'}
    assert model.patch_embeds['dsm'].projection.weight.shape[1] == 1


def test_a_shared_patch_embedding():
    model = build_mssdf(dict(rgb=3, irc=3), share_patch_embed=True).train()
    assert not len(model.patch_embeds)
    assert np.isfinite(sum(model.loss(batch_of(model, dict(rgb=3, irc=3)), []).values()).item())
    with pytest.raises(
        ValueError, match=r"share_patch_embed needs equal numbers of bands, found \{'rgb': 3, 'dsm': 1\}"
    ):
        build_mssdf(TWO, share_patch_embed=True)


# Bad input


def test_a_modality_is_missing():
    model = build_mssdf(THREE)
    with pytest.raises(ValueError, match=r'place_0.tif has no irc, only rgb, dsm'):
        model.data_preprocessor(make_modalities(TWO), True)


def test_modalities_of_different_sizes():
    data = make_modalities(TWO)
    data['inputs']['dsm'] = data['inputs']['dsm'][..., :48]
    with pytest.raises(ValueError, match=r"place_0.tif has modalities of different sizes.*'dsm': \(64, 48\).*one grid"):
        build_mssdf(TWO).data_preprocessor(data, True)


@pytest.mark.parametrize(('value', 'message'), [(float('nan'), 'no numbers'), (7.0, 'the same value everywhere')])
def test_a_surface_model_of_constants_or_nan(value, message):
    data = make_modalities(TWO)
    data['inputs']['dsm'][2] = value
    with pytest.raises(ValueError, match=rf"place_2.tif has .*{message} in 'dsm'"):
        build_mssdf(TWO).data_preprocessor(data, True)


def test_mask_ratios_that_leave_nothing_visible():
    for options in (dict(mask_ratio=1.0), dict(mask_ratio=0.75, substitution=1.0)):
        model = build_mssdf(TWO, **options).train()
        with pytest.raises(ValueError, match='mask_ratio'):
            model.loss(batch_of(model, TWO), [])


def test_impossible_options():
    for options, message in (
        (dict(independence='tokens'), "independence='tokens' is not one of"),
        (dict(gives_way='nir'), "gives_way='nir' is not one of"),
        (dict(normalise_targets='patches'), "normalise_targets='patches' is not one of"),
        (dict(reconstruction_weights=dict(nir=1.0)), "a modality of reconstruction_weights='nir' is not one of"),
        (dict(loss_weights=dict(contrast=1)), "'contrast'"),
    ):
        with pytest.raises(ValueError, match=message):
            build_mssdf(TWO, **options)
    with pytest.raises(ValueError, match=r'alignment, independence, modality, substitution compare .* two or more'):
        build_mssdf(dict(rgb=3))


def test_a_single_modality_is_reconstructed_alone():
    weights = dict(alignment=0, independence=0, modality=0)
    model = build_mssdf(dict(rgb=3), loss_weights=weights, substitution=0.0).train()
    losses = model.loss(batch_of(model, dict(rgb=3)), [])
    assert list(losses) == ['loss_reconstruction']
    losses['loss_reconstruction'].backward()
    assert model.backbone.patch_embed.projection.weight.grad.abs().max() > 0
