"""Write synthetic scenes in the folder layout of a data set.

Examples:
    $program OUT --layout potsdam levir_cd
    $program OUT --layout geotiff --scenes 8 --size 1024 --gsd 0.3 --bands 4

With one layout OUT becomes the data set's folder, with several each gets a folder of its name in it. The contents are
generated, never photographs: good for trying a config or a pipeline, not for judging a model.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

LAYOUTS = (
    'ucm, aid, resisc45, eurosat, eurosat_ms, millionaid, folder, bigearthnet, potsdam, potsdam_ndsm, vaihingen, '
    'loveda, dior, dota, levir_cd, svcd, second, oscd, us3d, potsdam_height, hr_pairs, seco, time_series, geotiff'
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument('--layout', nargs='+', default=['folder'], metavar='NAME', help=f'all, or any of: {LAYOUTS}')
    parser.add_argument('--scenes', type=int, help="number of scenes (default: the layout's)")
    parser.add_argument('--size', type=int, help="pixels a side (default: the layout's)")
    parser.add_argument('--gsd', type=float, help="metres per pixel (default: the layout's)")
    parser.add_argument(
        '--bands', type=int, default=6, help='bands of the layouts geotiff and time_series (default: 6)'
    )
    parser.add_argument('--seed', type=int, default=0, help='another seed, other scenes (default: 0)')
    parser.add_argument('--overwrite', action='store_true', help='write into a folder that is not empty')


def run(args: Namespace) -> int:
    """Write the scenes; returns the exit code, 2 for a wrong request."""
    from mmrs_ssl.cli.make_scenes import write_layouts

    return write_layouts(args)
