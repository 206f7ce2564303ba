"""Cut the scenes that a command line names into tiles."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from dataclasses import replace

import rasterio
from mmengine.utils import ProgressBar

from mmrs_ssl.archives.band_statistics import Options
from mmrs_ssl.archives.counting import files_of
from mmrs_ssl.archives.tiling import check_png, cut_tiles, find_scenes, plan_tiles, settle_bands
from mmrs_ssl.cli.archive import Part, find_parts
from mmrs_ssl.rasters.access import access_to
from mmrs_ssl.rasters.find import find_all
from mmrs_ssl.rasters.pool import CACHE_BYTES


def choose_part(parts: list[Part], modality: str | None) -> Part:
    """Choose the modality to cut.

    Raises:
        ValueError: if it is not said, or not there.
    """
    names = [part.name for part in parts]
    if modality is None and len(parts) == 1:
        return parts[0]
    if modality not in names:
        raise ValueError(f'--modality is {modality}, expected one of: {", ".join(names)}')
    return parts[names.index(modality)]


def with_labels(part: Part, labels: list[str]) -> Options:
    """Return how to read the images, where the files of labels may be read, too."""
    options = part.options
    if not labels or options.access is None:
        return options
    beside = access_to(labels, remote=options.access.remote)
    access = options.access._replace(
        roots=(*options.access.roots, *beside.roots), named=options.access.named | beside.named
    )
    return replace(options, access=access.with_files([*find_all(labels), *paths_of(part)]))


def paths_of(part: Part) -> list[str]:
    """List all files of the images."""
    return [path for image in part.images for path in files_of(image)]


def write_tiles(args: Namespace) -> None:
    """Cut the scenes into tiles, and say how many were written and left out."""
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())) and not args.overwrite:
        raise ValueError(f'{args.out} is not an empty folder; choose another one or add --overwrite')
    if not 0 <= args.max_nodata <= 1:
        raise ValueError(f'--max-nodata is {args.max_nodata}, expected a share in [0, 1]')
    if args.scale:
        raise ValueError(
            '--scale: tiles hold the values of the files, and --format tif their scales and offsets beside them; leave '
            'it out, and train on the tiles with unscale=True'
        )
    part = choose_part(find_parts(args), args.modality)
    if part.options.scale and args.format == 'png':
        raise ValueError(f'{args.sources[0]} asks for unscale=True, and PNG holds no scales; choose --format tif')
    options = with_labels(part, args.labels)
    scenes = find_scenes(part.images, args.labels, args.image_suffix, args.label_suffix, options, part.names)
    options, note = settle_bands(scenes, options)
    if note:
        print(f'note: {note}', file=sys.stderr)
    stride = args.size if args.stride is None else args.stride
    plan = plan_tiles(scenes, args.size, stride, args.edge, args.val_share)
    if args.format == 'png':
        check_png(scenes, options)
    counts: Counter[str] = Counter()
    bar = ProgressBar(len(plan.tiles), file=sys.stderr)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        for tile, written in cut_tiles(plan.tiles, args.out, args.size, args.format, args.max_nodata, options):
            counts[tile.split if written else 'nodata'] += 1
            bar.update()
    print(file=sys.stderr)
    print(f'{counts["train"]} training and {counts["val"]} validation tiles in {args.out}')
    if counts['nodata']:
        print(f'left out {counts["nodata"]} tiles with more than {args.max_nodata:g} nodata')
    if plan.straddling:
        print(f'left out {plan.straddling} training tiles that reach over the line to the validation tiles')
    if plan.small:
        names = ', '.join(f'{scene.path} ({scene.size[1]} x {scene.size[0]})' for scene in plan.small)
        print(f'passed over {len(plan.small)} scenes smaller than a tile: {names}')
