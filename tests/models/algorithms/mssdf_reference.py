"""MSSDF's step once more, from raw pixels and masks, sample by sample and place by place, in float64.

The formulas are those of the paper (arXiv 2506.09327) and of MSSDF's docstring. Of the package nothing takes part but
the layers' weights: no mask, loss, position or preprocessing of it is called.
"""

import copy
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

LUMINANCE = (0.299, 0.587, 0.114)
SHRINKAGE = 0.02
DEFAULTS = dict(
    ratio=0.75,
    substitution=0.1,
    fusion_shortcuts=False,
    decoder_shortcuts=False,
    shared_decoder=True,
    normalize=None,
    of='predictions',
    samples=512,
    temperature=0.07,
    negatives='batch',
    modality_weights={},
)
WEIGHTS = dict(reconstruction=1.0, alignment=0.5, independence=0.2, modality=0.1)


def flat(options, bands):
    """The options of a config by short names, over the documented defaults; bands: modality -> number."""
    found = dict(DEFAULTS)
    terms = options.get('terms', {})
    for part, names in (
        (options.get('masking', {}), dict(ratio='ratio', substitution='substitution')),
        (options.get('targets', {}), dict(normalize='normalize')),
        (options.get('fusion', {}), dict(shortcuts='fusion_shortcuts')),
        (options.get('decoder', {}), dict(shortcuts='decoder_shortcuts', share='shared_decoder')),
        (options, dict(compared_places='samples')),
        (terms.get('reconstruction', {}), dict(modality_weights='modality_weights')),
        (terms.get('alignment', {}), dict(temperature='temperature', negatives='negatives')),
        (terms.get('independence', {}), dict(of='of')),
    ):
        found |= {short: part[name] for name, short in names.items() if name in part}
    found['weights'] = WEIGHTS | {name: term['weight'] for name, term in terms.items() if 'weight' in term}
    alike = len({count for count in bands.values() if count > 1}) <= 1
    found['shared'] = alike and options.get('share_patch_embed') is not False
    return found


# What is masked


def score(raw, mean, std, patch):
    """The information of every patch (L,) of one image (C, H, W): mean Sobel magnitude plus variance, on 0-255."""
    pixels = raw.double().numpy()
    if raw.dtype != torch.uint8:
        mean, std = (np.array(values)[:, None, None] for values in (mean, std))
        pixels = np.clip((pixels - (mean - 2 * std)) / (4 * std) * 255, 0, 255)
    scores = []
    for top in range(0, pixels.shape[1], patch):
        for left in range(0, pixels.shape[2], patch):
            own = pixels[:, top : top + patch, left : left + patch]
            gray = np.tensordot(LUMINANCE, own, axes=1) if len(own) == 3 else own.mean(axis=0)
            if raw.dtype == torch.uint8 and len(own) == 3:
                gray = np.floor(np.round(gray, 6) + 0.5)
            g = np.pad(gray, 1, mode='reflect')
            rows, columns = [g[i : i + patch] for i in range(3)], [g[:, j : j + patch] for j in range(3)]
            across = sum(w * (row[:, 2:] - row[:, :-2]) for w, row in zip((1, 2, 1), rows, strict=True))
            down = sum(w * (column[2:] - column[:-2]) for w, column in zip((1, 2, 1), columns, strict=True))
            scores.append(np.hypot(across, down).mean() + ((own - own.mean()) ** 2).mean())
    return np.array(scores)


def probability(information):
    """Of masking each patch (L,): 0.8 below the 20th percentile, 0.3 above the 80th, else 0.5, summing to 1."""
    low, high = np.percentile(information, [20, 80])
    weights = np.array([0.8 if value < low else 0.3 if value > high else 0.5 for value in information])
    return weights / weights.sum()


# Networks


def positions(grid, width):
    """Two-dimensional sines and cosines (L, width) of the places, row by row."""
    quarter, rows = width // 4, []
    for i in range(grid[0]):
        for j in range(grid[1]):
            angles = [[along / 10000 ** (k / quarter) for k in range(quarter)] for along in (i, j)]
            rows.append([f(angle) for axis in angles for f in (np.sin, np.cos) for angle in axis])
    return torch.tensor(np.array(rows, dtype=np.float64))


def encode(vit, patch_embed, image, places):
    """Class token (D,) and tokens (V, D) of one image (C, H, W) of which these places are seen."""
    weight, bias = patch_embed.projection.weight, patch_embed.projection.bias
    side = weight.shape[-1]
    if len(image) == 1:  # gray
        image = torch.cat([image] * weight.shape[1])
    across = image.shape[2] // side
    tokens = [vit.cls_token[0, 0] + vit.pos_embed[0, 0]]
    for place in places:
        top, left = side * (place // across), side * (place % across)
        pixels = image[:, top : top + side, left : left + side]
        tokens.append((weight * pixels).sum(dim=(1, 2, 3)) + bias + vit.pos_embed[0, 1 + place])
    sequence = torch.stack(tokens)[None]
    for layer in vit.layers:
        sequence = layer(sequence)
    sequence = vit.ln1(sequence)[0]
    return sequence[0], sequence[1:]


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


def embeddings(parts, shared):
    """The patch embedding of a modality in a model or its teacher: its own, or the backbone's."""
    backbone, own = parts['backbone'], parts['patch_embeds']
    return lambda name: own[name] if not shared and name in own else backbone.patch_embed


def student(model, images, masks, options):
    """Class tokens (D,), visible tokens (V, D) and predictions (L, D) of one sample: modality -> (C, H, W), (L,)."""
    parts = dict(backbone=model.backbone, patch_embeds=model.patch_embeds)
    patch_embed = embeddings(parts, options['shared'])
    fusion, decoder = model.fusion, model.decoder
    side = model.backbone.patch_embed.projection.weight.shape[-1]
    image = next(iter(images.values()))
    grid = image.shape[1] // side, image.shape[2] // side
    place_codes = positions(grid, len(fusion.query)).to(image.dtype)
    seen_by = {name: [p for p in range(len(place_codes)) if not mask[p]] for name, mask in masks.items()}
    classes, tokens, inputs = {}, {}, {}
    for name, image in images.items():
        classes[name], tokens[name] = encode(model.backbone, patch_embed(name), image, seen_by[name])
        sums = tokens[name] + classes[name].detach()
        weight = fusion.projection.weight
        inputs[name] = [row @ weight.T + place_codes[p] for row, p in zip(sums, seen_by[name], strict=True)]
    seen = [p for p in range(len(place_codes)) if any(p in places for places in seen_by.values())]
    queries = [fusion.query + place_codes[p] for p in seen]
    if options['fusion_shortcuts']:
        for k, p in enumerate(seen):
            here = [inputs[name][seen_by[name].index(p)] for name in images if p in seen_by[name]]
            queries[k] = queries[k] + sum(here) / len(here)
    sequence = [row for rows in inputs.values() for row in rows] + queries
    fused = layers_alone(fusion.transformer, torch.stack(sequence))[-len(seen) :]
    predictions = {}
    for name in images:
        asked = [decoder.mask_tokens[name] + code for code in place_codes]
        if options['decoder_shortcuts']:
            for token, p in zip(fused, seen, strict=True):
                asked[p] = asked[p] + token
        known = [token + place_codes[p] for token, p in zip(fused, seen, strict=True)]
        own = 'all' if options['shared_decoder'] else name
        decoded = layers_alone(decoder.transformers[own], torch.stack(known + asked))[len(seen) :]
        predictions[name] = decoder.predictors[own](decoded)
    return classes, tokens, predictions


@torch.no_grad()
def teacher(model, images, normalize=None, shared=False):
    """Class tokens (B, D) and targets (B, L, D) of every modality, of whole images (B, C, H, W), one by one."""
    parts = dict(model.teacher.module.items())
    patch_embed = embeddings(parts, shared)
    classes, targets = {}, {}
    for name, batch in images.items():
        every = range(parts['backbone'].pos_embed.shape[1] - 1)
        encoded = [encode(parts['backbone'], patch_embed(name), image, every) for image in batch]
        classes[name], tokens = (torch.stack(each) for each in zip(*encoded, strict=True))
        if normalize == 'tokens':
            for row in tokens.flatten(0, 1):
                row.copy_((row - row.mean()) / (row.var(correction=0) + 1e-5).sqrt())
        elif normalize:
            rows = tokens.flatten(0, 1).numpy()
            rows = rows - rows.mean(axis=0)
            if normalize == 'dimensions':
                rows = rows / np.sqrt((rows**2).mean(axis=0) + 1e-5)
            else:
                covariance = sum(np.outer(row, row) for row in rows) / len(rows)
                covariance += SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
                rows = np.linalg.inv(np.linalg.cholesky(covariance)) @ rows.T
                rows = rows.T
            tokens = torch.from_numpy(rows.copy()).view_as(tokens)
        targets[name] = tokens
    return classes, targets


# Terms


def reconstruction(predictions, targets, masks, weights):
    """Mean squared error at masked places, per modality, added."""
    total = 0.0
    for name, mask in masks.items():
        errors = []
        for i in range(len(mask)):
            for place in range(mask.shape[1]):
                if mask[i, place]:
                    errors.append(((predictions[name][i, place] - targets[name][i, place]) ** 2).mean())
        total = total + weights.get(name, 1.0) * sum(errors) / len(errors)
    return total


def info_nce(first, second, temperature):
    """Of rows (N, D) with rows (N, D): the same index is the positive, all others are negatives; both directions."""
    total = 0.0
    for one, other in ((first, second), (second, first)):
        for i, row in enumerate(one):
            cosines = (other @ row) / (row.norm() * other.norm(dim=1)) / temperature
            total = total + cosines.exp().sum().log() - cosines[i]
    return total / (2 * len(first))


def hsic(first, second):
    """Squared Frobenius norm of the cross-covariance of rows (N, C) and (N, D) over (N - 1)^2."""
    first, second = first - first.mean(dim=0), second - second.mean(dim=0)
    cross = sum(torch.outer(one, other) for one, other in zip(first, second, strict=True))
    return (cross**2).sum() / (len(first) - 1) ** 2


def cka(first, second):
    """HSIC relative to the geometric mean of each one's with itself."""
    return hsic(first, second) / (hsic(first, first) * hsic(second, second)).sqrt()


def modality(classifier, classes):
    """Cross-entropy of telling the number of the modality from the class tokens (B, D)."""
    norm, first, activation, last = classifier
    losses = []
    for label, tokens in enumerate(classes.values()):
        for token in tokens:
            scores = last(activation(first(norm(token))))
            losses.append(torch.logsumexp(scores, dim=0) - scores[label])
    return sum(losses) / len(losses)


def pair_mean(values, loss):
    """A loss of two, averaged over all pairs."""
    pairs = list(combinations(values, 2))
    return sum(loss(values[a], values[b]) for a, b in pairs) / len(pairs)


def step(model, raw, statistics, masks, chosen, options):
    """Everything that a step computes.

    Args:
        model: an MSSDF; it is copied.
        raw: modality -> (B, C, H, W), as loaded.
        statistics: modality -> mean and std.
        masks: modality -> (B, L), True = masked.
        chosen: indices of the batch's rows, of which the first are the places that are compared.
        options: as given to the model, over its documented defaults.

    Returns:
        The copy, its loss terms, and what they are made of.
    """
    options = flat(options, {name: image.shape[1] for name, image in raw.items()})
    double = copy.deepcopy(model).double()
    images = {
        name: (raw[name].double() - column(values['mean'])) / column(values['std'])
        for name, values in statistics.items()
    }
    batch = len(next(iter(images.values())))
    alone = [
        student(
            double,
            {name: image[i] for name, image in images.items()},
            {name: mask[i] for name, mask in masks.items()},
            options,
        )
        for i in range(batch)
    ]
    classes, tokens, predictions = (
        {name: torch.stack([each[part][name] for each in alone]) for name in images} for part in range(3)
    )
    averaged, targets = teacher(double, images, options['normalize'], options['shared'])
    rows = {name: each.flatten(0, 1) for name, each in predictions.items()}
    sampled = {name: each[chosen[: options['samples']]] for name, each in rows.items()}

    weights, terms = options['weights'], {}
    if weights['reconstruction']:
        terms['reconstruction'] = reconstruction(predictions, targets, masks, options['modality_weights'])
    if weights['alignment']:
        compared = [sampled]
        if options['negatives'] == 'image':
            compared = [{name: each[i] for name, each in predictions.items()} for i in range(batch)]
        losses = [pair_mean(each, lambda a, b: info_nce(a, b, options['temperature'])) for each in compared]
        terms['alignment'] = sum(losses) / len(losses)
    if weights['independence']:
        of_predictions = options['of'] == 'predictions'
        terms['independence'] = pair_mean(sampled, hsic) if of_predictions else pair_mean(classes, cka)
    if weights['modality']:
        terms['modality'] = modality(double.terms['modality'].classifier, classes)
    losses = {f'loss_{name}': weights[name] * term for name, term in terms.items()}
    made = dict(images=images, classes=classes, tokens=tokens, predictions=predictions, targets=targets)
    return double, losses, dict(made, teacher_classes=averaged)


def column(values):
    """A value per band, to be broadcast over images."""
    return torch.tensor(values, dtype=torch.float64)[:, None, None]
