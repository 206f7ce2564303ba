"""Find in a checkpoint of several modalities what a backbone needs that takes them together."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmrs_ssl.transfer.networks import meta_of
from mmrs_ssl.transfer.own_checkpoints import PREFIX, modalities_in, read_model
from mmrs_ssl.transfer.records import Record, read_record

_OWN = 'patch_embeds.'
_EMBEDDING = 'patch_embed.'


@dataclass(frozen=True)
class JointModalities:
    """The modalities that a backbone takes in one image, as :class:`mmrs_ssl.ModalityVisionTransformer` does.

    Args:
        bands: of each, in the order of the image's channels.
        shared: whether one patch embedding serves all of them.
    """

    bands: dict[str, int]
    shared: bool


def joint_modalities(module: nn.Module) -> JointModalities | None:
    """Return the modalities that a backbone takes together; None for an ordinary one."""
    bands = getattr(module, 'modality_bands', None)
    return JointModalities(dict(bands), bool(module.shares_patch_embed)) if isinstance(bands, dict) else None


def joint_embeddings(
    content: Any, weights: Mapping[str, Tensor], path: Path, wanted: JointModalities
) -> dict[str, Tensor]:
    """Find the patch embeddings of modalities, under the names that the backbone which takes them together has.

    Nothing depends on the order in which the file names its modalities: mmengine sorts it.

    Args:
        content: of the file.
        weights: those of the branch that is meant, by all their names.
        path: of the file, for messages.
        wanted: by the backbone.

    Raises:
        ValueError: if the file does not say which modalities it has, lacks one or has it with other bands, or shares
            its patch embedding where the model does not or the other way round.
    """
    known = _bands_in(content, path, wanted)
    here, there = (', '.join(f'{name} {count}' for name, count in of.items()) for of in (wanted.bands, known))
    if other := [name for name, count in wanted.bands.items() if known.get(name) != count]:
        raise ValueError(
            f'{path} was pre-trained with modalities of these bands: {there}; the model takes {here}: '
            f'{", ".join(other)} {"are" if len(other) > 1 else "is"} not there, or of other bands; name those of the '
            'file in model.backbone.modalities'
        )
    apart = {name for name in known if any(key.startswith(f'{_OWN}{name}.') for key in weights)}
    if len(known) > 1 and len(wanted.bands) > 1 and wanted.shared == bool(apart):
        raise ValueError(
            f'{path} has {"a patch embedding for each of" if apart else "one patch embedding for"} {there}, the model '
            f'{"one for all" if wanted.shared else "one for each"}: set share_patch_embed={not apart} in model.backbone'
        )
    if apart and len(rest := sorted({*known} - apart)) != 1:
        raise ValueError(
            f'{path} has patch embeddings for {", ".join(sorted(apart))}, expected one for each of {there} but the '
            f"first, which has the backbone's; missing are {', '.join(rest) or 'none'}: the file was edited"
        )
    heads = {name: f'{_OWN}{name}.' if name in apart else f'{PREFIX}{_EMBEDDING}' for name in wanted.bands}
    found: dict[str, Tensor] = {}
    for i, (name, head) in enumerate(heads.items()):
        if i and wanted.shared:
            break
        own = f'{_OWN}{name}.' if i else _EMBEDDING
        found |= {own + key.removeprefix(head): each for key, each in weights.items() if key.startswith(head)}
    return found


def joint_record(content: Any, wanted: JointModalities) -> Record:
    """Read what a file says of its pre-training with these modalities, statistics in the order of their channels."""
    each = [read_record(content, name) for name in wanted.bands]
    mean, std = ([value for of in each for value in getattr(of, key) or ()] for key in ('mean', 'std'))
    bands = sum(wanted.bands.values())
    complete = len(mean) == len(std) == bands
    return replace(each[0], mean=mean if complete else None, std=std if complete else None, bands=bands)


def _bands_in(content: Any, path: Path, wanted: JointModalities) -> dict[str, int]:
    """Read how many bands each modality of the pre-training had."""
    text = meta_of(content).get('cfg')
    model = read_model(text) if isinstance(text, str) else {}
    means = {name: part.get('mean') for name, part in modalities_in(model).items() if name}
    known = {name: len(mean) for name, mean in means.items() if isinstance(mean, list | tuple)}
    if not known:
        raise ValueError(
            f'{path} does not say that it was pre-trained with several modalities, and the model takes '
            f'{", ".join(wanted.bands)} together: give a training checkpoint of MSSDF (files of a single modality go '
            'into mmpretrain.VisionTransformer; weights of a model with this backbone load by load_from)'
        )
    return known
