"""Print what is counted of the bands of an archive, and write config lines from it."""

from __future__ import annotations

import json
import math
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmrs_ssl.archives.accumulators import BandSummary
from mmrs_ssl.archives.band_statistics import Options, Statistics, band_statistics
from mmrs_ssl.cli.archive import Part, find_parts

_WHITE = 0.999  # the quantile that photometric transforms may take for white


def table_of_bands(stats: Statistics) -> str:
    """Format the statistics as a table with one line per band."""
    header = ['band', 'nodata', 'mean', 'std', 'spread', 'min', 'max', *(f'q{share:g}' for share in stats.shares)]
    rows = [header]
    for name, nodata, band, spread in zip(stats.names, stats.nodata_share, stats.bands, stats.spreads, strict=True):
        numbers = [math.nan] * (len(header) - 2)
        if band:
            numbers = [band.mean, band.std, spread or 0.0, band.low, band.high, *band.quantiles]
        rows.append([name, f'{nodata:.3%}', *(f'{number:.7g}' for number in numbers)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return '\n'.join('  '.join(line) for line in lines)


def settings(stats: Statistics, bands: Sequence[BandSummary], modality: str) -> dict[str, Any]:
    """Make config keys of the values as they are: mean and std, and the scales of augmentation per band."""
    model = 'model.data_preprocessor' + (f'.modalities.{modality}' if modality else '')
    data, one = 'train_dataloader.dataset', f'.{modality}' if modality else ''
    keys: dict[str, Any] = {
        f'{model}.mean': [_rounded(band.mean, band.std) for band in bands],
        f'{model}.std': [_rounded(band.std, band.std) for band in bands],
    }
    whites = [value for value in stats.quantile(_WHITE) if value is not None]
    if stats.dtype != 'uint8' and min(whites) > 0:
        keys[f'{data}.max_value{one}'] = _one([_rounded_up(white, stats.dtype) for white in whites])
        if all(stats.spreads):
            keys[f'{data}.band_spread{one}'] = _one([float(f'{spread:.3g}') for spread in stats.spreads if spread])
    return keys


def _one(values: list[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else values


def _rounded(value: float, std: float) -> float:
    """Round to four significant digits of the deviation: training cannot tell more apart."""
    return round(value, max(0, 3 - math.floor(math.log10(std))))


def _rounded_up(value: float, dtype: str) -> float:
    """Round up to two significant digits, within the type's range."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    rounded = float(f'{math.ceil(value / step - 1e-9) * step:.2g}')
    if np.dtype(dtype).kind == 'f':
        return rounded
    return min(int(rounded), int(np.iinfo(dtype).max))


def loader(options: Options, count: int) -> str:
    """Write the loading transform that yields the values that were counted."""
    bands = list(options.bands) if isinstance(options.bands, tuple) and options.bands else count
    words = [f'bands={bands}']
    marks = options.marks
    for name, value in dict(nodata=marks.value, alpha=options.alpha).items():
        if value is not None:
            words.append(f'{name}={value!r}')
    if options.rule != 'auto':
        words.append(f'nodata_rule={options.rule!r}')
    words += [f'{word}=True' for word in ('ignore_names',) if getattr(options, word)]
    if options.scale:
        words.append('unscale=True')
    return f"dict(type='mmrs_ssl.LoadRaster', {', '.join(words)})"


def config_lines(stats: Statistics, bands: Sequence[BandSummary], options: Options, modality: str) -> str:
    """Write what to paste into a config file, and the same for the command line."""
    keys = settings(stats, bands, modality)
    load = loader(options, len(bands))
    lines = ['To paste into the config:\n', f'# for {load}']
    by_root: dict[str, dict[str, Any]] = {}
    for key, value in keys.items():
        root, _, path = key.partition('.')
        *parents, last = path.split('.')
        node = by_root.setdefault(root, {})
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    lines += [f'{root} = {_written(content)}' for root, content in by_root.items()]
    if stats.dtype != 'uint8' and all(low < high for low, high in (band.limits for band in bands)):
        limits = [[_rounded(value, band.std) for value in band.limits] for band in bands]
        stretched = [band.stretched for band in bands]
        mean = [_rounded(mean_of_band, std_of_band) for mean_of_band, std_of_band in stretched]
        std = [_rounded(std_of_band, std_of_band) for _, std_of_band in stretched]
        lines += [
            '# or, brought to 8 bits when loading:',
            f'# {load[:-1]}, stretch={limits})',
            f'# model = dict(data_preprocessor=dict(mean={mean}, std={std}))',
        ]
    if options.bands and not modality:
        keys['train_dataloader.dataset.pipeline.0.bands'] = loaded_bands(options)
    words = ' '.join(shlex.quote(f'{key}={value}'.replace(' ', '')) for key, value in keys.items())
    return '\n'.join([*lines, '', 'or to the command line of tools/train.py:', '', f'--cfg-options {words}'])


def loaded_bands(options: Options) -> Any:
    """Return the loader's option for the bands that were counted."""
    return list(options.bands) if isinstance(options.bands, tuple) else options.bands


def _written(content: Any) -> str:
    if isinstance(content, dict):
        return f'dict({", ".join(f"{key}={_written(value)}" for key, value in content.items())})'
    return repr(content)


def show(stats: Statistics, part: Part) -> None:
    """Print table, config lines, and to the standard error stream what the user ought to know."""
    title = f'{part.name}: ' if part.name else ''
    print(f'{title}{stats.files} files, {stats.pixels:,} pixels, {stats.dtype}\n\n{table_of_bands(stats)}\n')
    varied = [band for band in stats.bands if band and band.std > 0]
    if part.changes:
        print(
            f'no config lines: these are the values of the files, of which the loader makes others '
            f'({", ".join(part.changes)})',
            file=sys.stderr,
        )
    elif len(varied) == len(stats.bands):
        print(config_lines(stats, varied, part.options, part.name))
    for name, band in zip(stats.names, stats.bands, strict=True):
        if band is None or band.std == 0:
            what = 'has no valid pixel' if band is None else 'is constant'
            print(
                f'no config lines: {name} {what} and cannot be normalized; choose others with --bands', file=sys.stderr
            )
        elif band.low < 0 and stats.dtype != 'uint8':
            print(
                f'note: {name} has values below 0, which photometric transforms refuse without stretch', file=sys.stderr
            )
    for note in stats.notes:
        print(f'note: {note}', file=sys.stderr)
    if stats.unreadable:
        print(f'warning: {len(stats.unreadable)} files cannot be read and do not count:', file=sys.stderr)
        print('\n'.join(f'  {message}' for message in stats.unreadable), file=sys.stderr)


def report_statistics(args: Namespace) -> None:
    """Count the statistics, print them, and write them to ``--out``."""
    if args.out and not args.out.resolve().parent.is_dir():
        raise FileNotFoundError(f'--out {args.out}: there is no folder {args.out.parent}')
    shares = sorted({*args.quantiles, _WHITE})
    parts = find_parts(args, args.strict)
    written = {}
    for part in parts:
        stats = band_statistics(part.images, part.options, shares, args.processes, bar=True)
        show(stats, part)
        written[part.name] = stats.as_dict()
    if args.out:
        args.out.write_text(json.dumps(written if len(parts) > 1 else written[parts[0].name], indent=2) + '\n')
