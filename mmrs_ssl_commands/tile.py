"""Cut scenes, with their labels, into tiles in mmsegmentation's folder layout.

Examples:
    $program SCENES --out tiles --size 512
    $program SCENES --labels LABELS --out tiles --size 512 --stride 256 --val-share 0.2
    $program my/sentinel2 --files '{scene}/{band}' --band-files B02 B03 B04 --out tiles --size 256
    $program ISPRS --labels ISPRS --image-suffix _RGB --label-suffix _label --out tiles --size 512

Writes OUT/img_dir/{train,val}/NAME_ROW_COL.tif and, for labels, OUT/ann_dir/{train,val}/NAME_ROW_COL.png, where ROW and
COL are the position of the tile's upper left pixel in the scene. Training reads large scenes as they are: tiles are for
programs that want files.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmrs_ssl_commands.arguments import add_archive_arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    add_archive_arguments(parser)
    parser.add_argument('--modality', help='which one to cut, where there are several')
    parser.add_argument('--out', type=Path, required=True, help='folder to write to')
    parser.add_argument('--labels', nargs='+', default=[], help='the same for labels: one band of class numbers')
    parser.add_argument(
        '--image-suffix', default='', help="how scenes' file names end before the dot, e.g. _RGB; others are no scenes"
    )
    parser.add_argument('--label-suffix', default='', help='the same for labels, e.g. _label')
    parser.add_argument('--size', type=int, required=True, help='pixels a side')
    parser.add_argument('--stride', type=int, help='pixels from tile to tile (default: the size)')
    parser.add_argument(
        '--edge',
        choices=['shift', 'drop'],
        default='shift',
        help='for pixels left at the edge: a last tile that overlaps the one before, or none (default: shift)',
    )
    parser.add_argument(
        '--max-nodata',
        type=float,
        default=1.0,
        metavar='SHARE',
        help='leave out tiles with more nodata, e.g. 0.5 (default: keep all)',
    )
    parser.add_argument(
        '--val-share',
        type=float,
        default=0.0,
        metavar='SHARE',
        help='how much goes to val: of the scenes, or of the columns of tiles if there is one scene (default: 0)',
    )
    parser.add_argument(
        '--format',
        choices=['tif', 'png'],
        default='tif',
        help='tif keeps all that is known of the scene, png holds 1, 3 or 4 bands of 8 or 16 bits (default: tif)',
    )
    parser.add_argument('--overwrite', action='store_true', help='write into a folder that is not empty')


def run(args: Namespace) -> None:
    """Cut the scenes into tiles, and say how many were written and left out."""
    from mmrs_ssl.cli.tile import write_tiles

    write_tiles(args)
