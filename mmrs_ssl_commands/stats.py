"""Count mean, deviation, range, quantiles and nodata share of every band of an archive, and print config lines.

Examples:
    $program my/scenes
    $program 'my/scenes/**/*_ortho.tif' more/scenes --bands 0 1 2 --out stats.json
    $program my/sentinel2 --files '{scene}/{band}' --band-files B02 B03 B04 B08
    $program ${configs}mssdf/mssdf_vit-small_1xb64-coslr-100e_geotiff-224px.py

Every pixel is read once, by windows and in several processes. Numbers of integers of at most 16 bits are exact;
quantiles of other types are within a rank error of 0.001. A quantile q is the smallest value that at least a share q of
the valid pixels does not exceed. The standard deviation is the population's, as numpy's; the spread is the median
deviation within patches of 32 pixels a side.
"""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmrs_ssl_commands.arguments import add_archive_arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    add_archive_arguments(parser)
    parser.add_argument(
        '--quantiles',
        nargs='+',
        type=float,
        default=(0.001, 0.02, 0.5, 0.98, 0.999),
        metavar='SHARE',
        help='in [0, 1]',
    )
    parser.add_argument(
        '--processes', type=int, default=len(os.sched_getaffinity(0)), help='how many read (default: one per core)'
    )
    parser.add_argument('--strict', action='store_true', help='stop at the first file that cannot be read')
    parser.add_argument('--out', type=Path, metavar='JSON', help='write the numbers to this file')


def run(args: Namespace) -> None:
    """Count the statistics, print them, and write them to ``--out``."""
    from mmrs_ssl.cli.stats import report_statistics

    report_statistics(args)
