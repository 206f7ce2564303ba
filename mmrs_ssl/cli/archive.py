"""Say which images a tool for archives works on, and how they are read: by its own options, or those of a config."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmrs_ssl.archives.band_statistics import Options
from mmrs_ssl.archives.counting import Image
from mmrs_ssl.cli.config import config_file, override
from mmrs_ssl.cli.pretrain_names import naming_of, takes
from mmrs_ssl.datasets import SceneDataset
from mmrs_ssl.datasets.transforms.loading import LoadRaster, loaders_of
from mmrs_ssl.rasters.access import Access, access_to
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.find import find_all
from mmrs_ssl.rasters.header import read_header
from mmrs_ssl.scenes.files import SceneFile, find_scene_files
from mmrs_ssl.shipped_configs import config_names


@dataclass(frozen=True)
class Part:
    """The images of one modality, and how they are read.

    Attributes:
        name: of the modality, '' where there is but one.
        images: a file each, or one per band.
        names: of the images, if scenes and dates name them.
        options: how to read them.
        changes: options of the loader that make other values of those that are counted.
    """

    name: str
    images: list[Image]
    options: Options
    names: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


def find_parts(args: Namespace, strict: bool = False) -> list[Part]:
    """Find the images that the command line names.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if options contradict each other.
    """
    if args.sources[0].endswith('.py') or (args.by_name and args.sources[0] in config_names()):
        return _parts_of_config(args, strict)
    if args.cfg_options:
        raise ValueError(f'--cfg-options are for a config, and {args.sources[0]} is none')
    alpha = None if args.alpha is None else args.alpha == 'mask'
    access = access_to(args.sources, args.roots, args.allow_remote)
    options = Options(
        bands=tuple(args.bands),
        nodata=args.nodata,
        rule=args.nodata_rule,
        alpha=alpha,
        ignore_names=args.ignore_names,
        band_files=tuple(args.band_files),
        scale=args.scale,
        strict=strict,
        access=access,
    )
    if not args.files and not args.band_files:
        paths = find_all(args.sources)
        options = replace(options, access=access.with_files(paths))
        _refuse_bands_apart(args.sources, paths, options.access)
        return [Part('', list(paths), options)]
    if len(args.sources) > 1:
        raise ValueError(f'--files is a rule for one source, not {len(args.sources)}: {" ".join(args.sources)}')
    files = find_scene_files(args.sources[0], _rules(args.files), access)
    options = replace(options, access=access.with_files([file.path for file in files]))
    modalities = dict.fromkeys(file.modality for file in files)
    found = []
    for name in modalities:
        images = _images([file for file in files if file.modality == name], args.band_files)
        found.append(Part(name, list(images.values()), options, tuple(images)))
    return found


def _refuse_bands_apart(sources: Sequence[str], paths: Sequence[str | Path], access: Access | None) -> None:
    """Refuse a folder with a file for each band of an image, whose bands would all count as one."""
    if len(sources) > 1 or not Path(sources[0]).is_dir():
        return
    names = {Path(path).relative_to(sources[0]).as_posix(): str(path) for path in paths}
    naming = naming_of(list(names))
    if not (bands := naming.band_files):
        return
    first = next(path for name, path in names.items() if takes(naming, name))
    with suppress(UnreadableImageError):  # which counting will tell
        if len(read_header(first, access).names) > 1:
            return
        raise ValueError(
            f'{sources[0]} seems to hold a file for each band ({", ".join(bands)}; {first}): add --files '
            f"'{naming.rules['']}' --band-files {' '.join(bands)}; or, if every file is an image of its own, "
            "--files '{scene}'"
        )


def _rules(rules: list[str]) -> str | dict[str, str]:
    if not rules:
        return '{scene}'
    pairs = [rule.partition('=') for rule in rules]
    if len(pairs) == 1 and not (pairs[0][1] and pairs[0][0].isidentifier()):
        return rules[0]
    if wrong := [
        rule for rule, (name, equal, _) in zip(rules, pairs, strict=True) if not (equal and name.isidentifier())
    ]:
        raise ValueError(f'--files {wrong[0]!r} names no modality; expected rules such as rgb={{scene}}_rgb')
    return {name: rule for name, _, rule in pairs}


def _images(files: list[SceneFile], band_files: list[str]) -> dict[str, Image]:
    """Group files to images, by name: one each, or one per band of ``band_files``."""
    if not band_files:
        if banded := [file for file in files if file.band]:
            bands = sorted({file.band for file in banded})
            raise ValueError(
                f'{banded[0].path} is one of several bands; say which to take: --band-files {" ".join(bands)}'
            )
        return {_name(file.scene, file.date): file.path for file in files}
    images: dict[tuple[str, str], dict[str, str]] = {}
    for file in files:
        images.setdefault((file.scene, file.date), {})[file.band] = file.path
    found: dict[str, Image] = {}
    for (scene, date), bands_of in images.items():
        if missing := [band for band in band_files if band not in bands_of]:
            place = f'scene {scene!r}' + (f', date {date!r},' if date else '')
            raise ValueError(f'{place} has no file of band {missing[0]!r}; it has {", ".join(bands_of)}')
        found[_name(scene, date)] = tuple(bands_of[band] for band in band_files)
    return found


def _name(scene: str, date: str) -> str:
    return '_'.join(filter(None, (scene, date))).replace('/', '_')


def _parts_of_config(args: Namespace, strict: bool) -> list[Part]:
    """Find the images of a config's training data that its loader reads, and how it does."""
    of_files = ('files', 'band_files', 'bands', 'alpha', 'ignore_names', 'scale', 'roots', 'allow_remote')
    given = [name for name in of_files if getattr(args, name)]
    given += [name for name, usual in (('nodata', 'declared'), ('nodata_rule', 'auto')) if getattr(args, name) != usual]
    if given:
        name = given[0].replace('_', '-')
        raise ValueError(f'--{name} is for files; a config says it itself, or --cfg-options')
    if len(args.sources) > 1:
        raise ValueError(f'expected one config and nothing else, found {" ".join(args.sources)}')
    cfg = Config.fromfile(config_file(args.sources[0], args.by_name))
    override(cfg, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    dataset: Any = DATASETS.build(cfg.train_dataloader.dataset)
    dataset.full_init()
    loaders = loaders_of(dataset.pipeline.transforms)
    if not loaders:
        raise ValueError(f'{args.sources[0]}: its pipeline has no mmrs_ssl.LoadRaster or LoadModalities')
    parts: dict[str, dict[Image, str]] = {}
    for number in range(len(dataset.plan.ends) if isinstance(dataset, SceneDataset) else len(dataset)):
        info = dataset.get_data_info(number)
        layers = info['scene'].layers if 'scene' in info else {'': {'': (info['img_path'],)}}
        for modality, dates in layers.items():
            for date, files in dates.items():
                name = _name(info['scene'].name, date) if 'scene' in info else ''
                parts.setdefault(modality, {}).setdefault(files[0] if len(files) == 1 else files, name)
    found = []
    for modality, images in parts.items():
        loader = loaders.get(modality) or loaders.get('')
        if loader is None:
            raise ValueError(f'{args.sources[0]}: no loader reads modality {modality!r}')
        options, changes = _options_of(loader, dataset, strict), tuple(_changes(loader))
        found.append(Part(modality, list(images), options, tuple(images.values()), changes))
    return found


def _options_of(loader: LoadRaster, dataset: Any, strict: bool) -> Options:
    marks = loader.marks
    return Options(
        bands=tuple(loader.bands) if isinstance(loader.bands, list) else loader.bands or (),
        nodata={None: 'declared', 'none': None}.get(marks.value, marks.value),  # type: ignore[arg-type]
        rule=marks.rule,
        alpha=marks.alpha,
        ignore_names=loader.ignore_names,
        band_files=tuple(getattr(dataset, 'band_files', None) or ()),
        scale=loader.unscale,
        strict=strict,
        access=dataset.access,
    )


def _changes(loader: LoadRaster) -> list[str]:
    """Name what the loader makes of values that is not counted."""
    changes = dict(height=loader.height, stretch=loader.stretch is not None, convert=loader.convert)
    return [f'{name}={getattr(loader, name)!r}' for name, value in changes.items() if value]
