"""Count mean, deviation, range, quantiles and nodata share of every band of an archive, and print config lines.

    python tools/band_stats.py my/scenes
    python tools/band_stats.py 'my/scenes/**/*_ortho.tif' more/scenes --bands 0 1 2 --out stats.json

Every pixel is read once, by windows and in several processes. Numbers of integers of at most 16 bits are exact;
quantiles of other types are within a rank error of 0.001. A quantile q is the smallest value that at least a share q of
the valid pixels does not exceed. The standard deviation is the population's, as numpy's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrs_ssl.archives.accumulators import BandSummary
from mmrs_ssl.archives.band_statistics import QUANTILES, Nodata, Options, Statistics, band_statistics
from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.rasters.access import access_to
from mmrs_ssl.rasters.find import find_all

_WHITE = 0.999  # the quantile that photometric transforms may take for white


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sources', nargs='+', help='folders (with sub-folders), files or glob patterns')
    parser.add_argument(
        '--bands',
        nargs='+',
        type=_band,
        default=[],
        help='which bands, by number from 0 or by name (default: all but alpha, which is a mask unless named here)',
    )
    parser.add_argument(
        '--nodata',
        type=_nodata,
        default='declared',
        metavar='VALUE',
        help='the value that is no data, in place of those the files declare; none for no such value',
    )
    parser.add_argument('--scale', action='store_true', help="apply the files' own scale and offset per band")
    parser.add_argument('--quantiles', nargs='+', type=float, default=QUANTILES, metavar='SHARE', help='in [0, 1]')
    parser.add_argument(
        '--processes', type=int, default=len(os.sched_getaffinity(0)), help='how many read (default: one per core)'
    )
    parser.add_argument(
        '--allow-remote',
        action='store_true',
        help='read addresses (https://..., s3://..., /vsicurl/...) that are given here or named in VRTs',
    )
    parser.add_argument('--roots', nargs='+', default=[], help="further folders where VRTs' sources may lie")
    parser.add_argument('--strict', action='store_true', help='stop at the first file that cannot be read')
    parser.add_argument('--out', type=Path, metavar='JSON', help='write the numbers to this file')
    return parser.parse_args()


def _band(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _nodata(text: str) -> Nodata:
    if text == 'declared':
        return 'declared'
    return None if text.lower() == 'none' else float(text)


def table(stats: Statistics) -> str:
    """Format the statistics as a table with one line per band."""
    header = ['band', 'nodata', 'mean', 'std', 'min', 'max', *(f'q{share:g}' for share in stats.shares)]
    rows = [header]
    for name, nodata, band in zip(stats.names, stats.nodata_share, stats.bands, strict=True):
        numbers = (
            (band.mean, band.std, band.low, band.high, *band.quantiles) if band else [math.nan] * (len(header) - 2)
        )
        rows.append([name, f'{nodata:.3%}', *(f'{number:.7g}' for number in numbers)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return '\n'.join('  '.join(line) for line in lines)


def settings(stats: Statistics, bands: Sequence[BandSummary]) -> dict[str, Any]:
    """Make config keys of the values as they are: mean and std, and what counts as white where they are not 8-bit."""
    keys: dict[str, Any] = {
        'model.data_preprocessor.mean': [_rounded(band.mean, band.std) for band in bands],
        'model.data_preprocessor.std': [_rounded(band.std, band.std) for band in bands],
    }
    white = max(value for value in stats.quantile(_WHITE) if value is not None)
    if stats.dtype != 'uint8' and white > 0:
        keys['train_dataloader.dataset.max_value'] = _rounded_up(white, stats.dtype)
    return keys


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
    words = [f'bands={list(options.bands) or count}']
    if isinstance(options.nodata, float):
        words.append(f'nodata={options.nodata}')
    if options.scale:
        words.append('unscale=True')
    return f"dict(type='mmrs_ssl.LoadRaster', {', '.join(words)})"


def config_lines(stats: Statistics, bands: Sequence[BandSummary], options: Options) -> str:
    """Write what to paste into a config file, and the same for the command line."""
    keys = settings(stats, bands)
    mean, std = keys['model.data_preprocessor.mean'], keys['model.data_preprocessor.std']
    white = keys.get('train_dataloader.dataset.max_value')
    load = loader(options, len(bands))
    lines = [
        'To paste into the config:\n',
        f'# for {load}',
        f'model = dict(data_preprocessor=dict(mean={mean}, std={std}))',
    ]
    if white is not None:
        lines.append(f'train_dataloader = dict(dataset=dict(max_value={white}))')
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
    if options.bands:
        keys['train_dataloader.dataset.pipeline.0.bands'] = list(options.bands)
    words = ' '.join(shlex.quote(f'{key}={value}'.replace(' ', '')) for key, value in keys.items())
    return '\n'.join([*lines, '', 'or to the command line of tools/train.py:', '', f'--cfg-options {words}'])


def show(stats: Statistics, options: Options) -> None:
    """Print table, config lines, and to the standard error stream what the user ought to know."""
    print(f'{stats.files} files, {stats.pixels:,} pixels, {stats.dtype}\n\n{table(stats)}\n')
    varied = [band for band in stats.bands if band and band.std > 0]
    if len(varied) == len(stats.bands):
        print(config_lines(stats, varied, options))
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


def main() -> None:
    """Count the statistics, print them, and write them to ``--out``."""
    args = parse_args()
    if args.out and not args.out.resolve().parent.is_dir():
        raise FileNotFoundError(f'--out {args.out}: there is no folder {args.out.parent}')
    paths = find_all(args.sources)
    access = access_to(args.sources, args.roots, args.allow_remote).with_files(paths)
    options = Options(tuple(args.bands), args.nodata, args.scale, args.strict, access)
    shares = sorted({*args.quantiles, _WHITE})
    stats = band_statistics(paths, options, shares, args.processes, bar=True)
    show(stats, options)
    if args.out:
        args.out.write_text(json.dumps(stats.as_dict(), indent=2) + '\n')


if __name__ == '__main__':
    with clear_errors():
        main()
