"""Write a pre-trained backbone so that torchgeo-bench runs it beside its own models.

torchgeo-bench (github.com/torchgeo/torchgeo-bench, version 0.4) is a program of its own, for Python 3.12 and later. It
makes a model of the class that a Hydra config names, once for every data set, with the data set's bands and the name of
a normalization, and asks it for a vector of each image. That class is a copy of
:mod:`mmrs_ssl.evaluation.torchgeo_model`. Before anything is written it is tried: its features are mmpretrain's.
"""

import importlib.util
import math
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from mmengine.fileio import dump
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmrs_ssl.band_names import rgb_bands
from mmrs_ssl.evaluation import torchgeo_model
from mmrs_ssl.evaluation.torchgeo_model import unit_of
from mmrs_ssl.models.backbones.pooling import pooled
from mmrs_ssl.models.following import build_backbone
from mmrs_ssl.transfer import key_maps
from mmrs_ssl.transfer.behavior import settings_said
from mmrs_ssl.transfer.export import read_training
from mmrs_ssl.transfer.networks import meta_of
from mmrs_ssl.transfer.own_checkpoints import PREFIX, read_settings
from mmrs_ssl.transfer.records import loader_of
from mmrs_ssl.transfer.sources import read_file
from mmrs_ssl.transfer.targets import layout_in, librarys_class, named_for, remarks

TOLERANCE = 1e-4  # of features, relative to the largest
SIDE = 224  # pixels of torchgeo-bench's images by default
REFUSED = 'this backbone cannot be written for torchgeo-bench'

# torchvision's modules whose outputs are maps, the deepest first.
_STAGES = ['features.7', 'features.5', 'features.3', 'features.1']
_MAPS = dict(resnet=['layer4', 'layer3', 'layer2', 'layer1'], swin=_STAGES, convnext=_STAGES)

_README = """\
# {title}, for torchgeo-bench

`{name}.py` is the model (torch and torchvision alone), `{name}.pth` its weights, `model/{name}.yaml` the configuration.

In an environment of its own, Python 3.12 or later (`pip install torchgeo-bench`), in the folder that has its `data/` or
is to have it:

```bash
FOLDER=path/of/this/folder
export PYTHONPATH="$FOLDER"
torchgeo-bench download geobench_v1
# as the published rows are made: mean and std of the data set
torchgeo-bench run --config-dir "$FOLDER" model={name} "dataset.names=[m-eurosat]" dataset.image_size={side} \\
    output=results/{name}.csv device=cpu
# mean and std of the pre-training
torchgeo-bench run --config-dir "$FOLDER" model={name} "dataset.names=[m-eurosat]" dataset.image_size={side} \\
    output=results/{name}.csv device=cpu dataset.normalization=model_native
```

Each data set gives rows `knn5` and `linear` (logistic regression, its C chosen on the validation part) with 95 %
intervals, or `seg-fpn` (mIoU; `eval.segmentation.head_type=linear` for one linear layer). Compare rows of the same
`dataset`, `normalization`, `image_size`, `interpolation` and `bands` only. `model.name=...` gives yours another name;
without `dataset.names` all data sets are run that are there.

- Bands: {bands}
- Unit of mean and std: {unit}.
- The vector of an image is {vector}.
- Images: {size}; most published rows are of 224 (`dataset.image_size`).{notes}
"""


def export_torchgeo_bench(
    checkpoint: str | Path, out: str | Path, branch: str | None = None, modality: str | None = None
) -> list[Path]:
    """Write weights, model, configuration and README for torchgeo-bench.

    Args:
        checkpoint: a checkpoint of a pre-training run.
        out: the folder.
        branch: ``'student'`` or ``'teacher'``; by default the one that the method's authors evaluate.
        modality: whose patch embedding to take where a model has several; by default the first one's.

    Returns:
        The files.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is refused or holds no such backbone; if torchvision has none like it, or computes other
            features with its weights.
    """
    path, out = Path(checkpoint), Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f'{out} is a file, expected a folder to write to')
    weights, meta = read_training(path, branch, modality)
    own = {key.removeprefix(PREFIX): value for key, value in weights.items()}
    named, family = _torchvisions(own, meta)
    settings = read_settings(str(meta_of(read_file(path))['cfg']))
    sizes = _sizes(named, family, meta['backbone'])
    name = _name(meta)
    config, readme = _texts(name, sizes, settings, meta)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder)
        files = [Path(f'{name}.pth'), Path(f'{name}.py'), Path('model', f'{name}.yaml'), Path('README.md')]
        (draft / 'model').mkdir()
        torch.save(named, draft / files[0])
        shutil.copyfile(torchgeo_model.__file__, draft / files[1])
        text = dump(config, file_format='yaml', sort_keys=False, default_flow_style=None)
        (draft / files[2]).write_text(f'# {_title(meta)}\n{text}')
        (draft / files[3]).write_text(readme)
        _compare(_imported(draft / files[1]), config, own, meta)
        for file in files:
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(draft / file, out / file)
    return [out / file for file in files]


def _torchvisions(own: dict[str, Tensor], meta: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """Rename a backbone's weights to torchvision's names; also the family they are of."""
    try:
        librarys_class(meta['backbone'])  # raises for what takes several modalities
        if meta['backbone'].get('out_type', 'cls_token') not in ('cls_token', 'featmap'):
            raise ValueError(
                f"out_type={meta['backbone']['out_type']!r}, expected 'cls_token' or 'featmap': which vector of an "
                'image is meant is not known'
            )
        if meta['backbone'].get('interpolate_mode', 'bicubic') != 'bicubic':
            raise ValueError(f'interpolate_mode={meta["backbone"]["interpolate_mode"]!r}, expected bicubic')
        named = named_for(own, 'torchvision', meta['backbone'])
    except ValueError as error:
        reason = str(error).removeprefix('--format torchvision: ').partition('; use --format')[0]
        raise ValueError(f'{REFUSED}: {reason}') from None
    layout = layout_in(own)
    if layout is None:
        raise ValueError(f'{REFUSED}: names of its weights are of no known network')
    if layout.family == 'resnet' and len(named['conv1.weight']) != 64:
        stem = len(named['conv1.weight'])
        raise ValueError(f"{REFUSED}: its stem has {stem} channels, that of torchvision's ResNets 64")
    return named, layout.family


def _sizes(weights: Mapping[str, Tensor], family: str, backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Read the sizes of torchvision's network off its weights, and what they do not show off the config."""

    def depth(start: str) -> int:
        return len({key[len(start) :].split('.')[0] for key in weights if key.startswith(start)})

    if family == 'resnet':
        first, depths = weights['layer1.0.conv1.weight'], [depth(f'layer{i}.') for i in (1, 2, 3, 4)]
        return dict(family=family, width=len(first), depths=depths, bottleneck='layer1.0.conv3.weight' in weights)
    if family == 'vit':
        layer, kernel = 'encoder.layers.encoder_layer_', weights['conv_proj.weight']
        positions = weights['encoder.pos_embedding'].shape[1] - 1
        if kernel.shape[2] != kernel.shape[3] or math.isqrt(positions) ** 2 != positions:
            raise ValueError(
                f'{REFUSED}: {positions} patches of {tuple(kernel.shape[2:])} pixels, expected a square of squares'
            )
        return dict(
            family=family,
            width=len(kernel),
            depths=[sum(key.startswith(layer) and key.endswith('.ln_1.weight') for key in weights)],
            heads=[settings_said(backbone, key_maps.VIT)['heads']],
            patch=kernel.shape[-1],
            hidden=len(weights[f'{layer}0.mlp.0.weight']),
            places=math.isqrt(positions),
        )
    stages = (1, 3, 5, 7)
    kernel, depths = weights['features.0.0.weight'], [depth(f'features.{i}.') for i in stages]
    if family == 'convnext':
        return dict(family=family, width=len(kernel), depths=depths)
    tables = [weights[f'features.{i}.0.attn.relative_position_bias_table'] for i in stages]
    return dict(
        family=family,
        width=len(kernel),
        depths=depths,
        heads=[table.shape[1] for table in tables],
        patch=kernel.shape[-1],
        window=(math.isqrt(len(tables[0])) + 1) // 2,
        hidden=len(weights['features.1.0.mlp.0.weight']),
    )


def _texts(
    name: str, sizes: dict[str, Any], settings: Mapping[str, Any], meta: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Make the configuration and the README."""
    backbone, family = meta['backbone'], sizes['family']
    pool, vector = 'mean', 'the mean over the places of the last map'
    if family == 'vit' and backbone.get('out_type', 'cls_token') == 'cls_token':
        pool = vector = 'class_token'
    elif family == 'convnext' and backbone.get('gap_before_final_norm', True):
        pool = 'mean_before_norm'
    side = _side(sizes)
    bands, said = _bands(settings, meta)
    unit, why = _unit(settings, meta)
    maps = _MAPS.get(family) or [f'encoder.layers.encoder_layer_{i}' for i in _quarters(sizes['depths'][0])]
    mean, std = ([float(value) for value in meta[key]] for key in ('mean', 'std'))
    config = dict(
        _target_=f'{name}.{torchgeo_model.BenchBackbone.__name__}',
        name=name,
        network=dict(weights=f'{name}.pth', pool=pool, **sizes),
        pixels=dict(bands=bands, mean=mean, std=std, unit=unit),
        eval=dict(segmentation=dict(layers=maps)),
    )
    size = f'{side} pixels a side, {"as its positions are" if family == "vit" else "the default"}'
    notes = ''.join(f'\n- Note: {note}.' for note in remarks(backbone, 'torchvision'))
    title, unit_said = _title(meta), f'{unit or "none of torchgeo-bench"} ({why}); `model.pixels.unit=...` says another'
    return config, _README.format(
        title=title,
        name=name,
        bands=said,
        unit=unit_said,
        vector=vector.replace('_', ' '),
        side=side,
        size=size,
        notes=notes,
    )


def _side(sizes: Mapping[str, Any]) -> int:
    """Return the side of images in pixels: of a ViT that of its positions."""
    return int(sizes['patch'] * sizes['places']) if sizes['family'] == 'vit' else SIDE


def _title(meta: Mapping[str, Any]) -> str:
    kind, method = (str(each).rpartition('.')[2] for each in (meta['backbone']['type'], meta['method']))
    return f'{kind} ({meta["branch"]}) that mmrs_ssl pre-trained with {method}'


def _name(meta: Mapping[str, Any]) -> str:
    """Name the model by its method, network and modality: a word that Python takes for a module."""
    backbone = meta['backbone']
    kind, method = (str(each).rpartition('.')[2] for each in (backbone['type'], meta['method']))
    arch = backbone.get('depth', backbone.get('arch'))
    parts = ('mmrs', method, kind, arch if isinstance(arch, str | int) else '', meta['modality'] or '')
    return re.sub(r'\W+', '_', '_'.join(str(part).lower() for part in parts if part != ''))


def _quarters(layers: int) -> list[int]:
    """Choose the last of each quarter of a ViT's layers, the deepest first."""
    return sorted({math.ceil(layers * part / 4) - 1 for part in (1, 2, 3, 4)}, reverse=True)


def _bands(settings: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[list[str] | None, str]:
    """Find the names of the bands that a config says, colors by their words; and what to say of them."""
    given = (loader_of(settings, meta['modality']) or {}).get('bands')
    loader: Any = settings.get('train_dataloader')
    dataset = loader.get('dataset') if isinstance(loader, dict) else None
    names = dataset.get('band_files') if isinstance(dataset, dict) else None
    if isinstance(given, list):
        names = [names[each] if isinstance(each, int) and isinstance(names, list) else each for each in given]
    if not isinstance(names, list) or len(names) != meta['bands'] or not all(isinstance(each, str) for each in names):
        return None, (
            f'the checkpoint does not name its {meta["bands"]}, they are those of the data set by position; '
            '`dataset.bands=[...]` chooses these, `model.pixels.bands=[...]` gives the names'
        )
    colors = dict(zip(rgb_bands(names) or (), ('red', 'green', 'blue'), strict=False))
    words = [colors.get(place, each) for place, each in enumerate(names)]
    return words, f'{", ".join(words)} (`model.pixels.bands`; codes like B8A are read as those of Sentinel-2)'


def _unit(settings: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[str | None, str]:
    """Tell the unit of mean and std, None for heights; and why."""
    if (loader_of(settings, meta['modality']) or {}).get('height') or min(meta['mean']) < 0:
        return None, 'heights, or values below 0: `dataset.normalization=model_native` is refused'
    largest = max(mean + 2 * std for mean, std in zip(meta['mean'], meta['std'], strict=True))
    return unit_of(largest), f'as mean + 2 std is at most {largest:g}'


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f'{path} cannot be imported')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def _compare(module: ModuleType, config: Mapping[str, Any], own: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """See that the written model computes the features of mmpretrain's.

    Raises:
        ValueError: if it does not.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        backbone: nn.Module = build_backbone(meta['backbone'], meta['bands'])[0]
    backbone.load_state_dict(own)
    backbone.eval()  # of mmpretrain's this returns nothing
    side, pixels = _side(config['network']), config['pixels']
    images = torch.randn(2, meta['bands'], side, side, generator=torch.Generator().manual_seed(0))
    expected = pooled(backbone(images)[-1])
    mean, std = (torch.tensor(pixels[key]).view(-1, 1, 1) for key in ('mean', 'std'))
    bands = [SimpleNamespace(name=name) for name in pixels['bands'] or map(str, range(meta['bands']))]
    try:
        model = module.BenchBackbone(bands, config['network'], pixels, normalization='identity').eval()
    except RuntimeError as error:  # of weights that do not fit
        raise ValueError(f'{REFUSED}: torchvision has no network of these sizes: {error}') from None
    difference = float((model(images * std + mean) - expected).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE:
        reasons = ': '.join(['', *remarks(meta['backbone'], 'torchvision')])
        raise ValueError(
            f'{REFUSED}: torchvision computes features with its weights that differ by {difference:.2g} of the '
            f'largest, expected {TOLERANCE} at most{reasons}'
        )
