"""Pre-train a backbone on a folder of pictures, rasters or scenes: all the rest is worked out from the data.

Examples:
    $program my/images
    $program my/scenes --hours 8 --work-dir runs/mine
    $program my/images size=128 epochs=50 --method dino-mc --backbone vit-small
    $program my/images --dry-run

It looks at the files, measures their pixels on a sample, prints what it chose and why, and writes that as a config into
the work dir: recipe.py, which the data alone decide, and on it config.py with what this machine adds. Then it checks,
trains, and writes pictures and the backbone. NAME is a short name of the config, or a path in it.
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import Settings

INTERMIXED = True  # NAME=VALUE may stand before options and behind them


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument('data', help='a folder, a glob pattern or one large raster')
    parser.add_argument(
        'settings',
        nargs='*',
        action=Settings,
        default={},
        metavar='NAME=VALUE',
        help='settings that rule in place of those worked out, e.g. size=128 batch=32 epochs=50',
    )
    parser.add_argument(
        '--method', help='cmid, dino-mc, dino-tp, mssdf, mocov2, simsiam, byol, mae or simmim (default: by the data)'
    )
    parser.add_argument('--backbone', help='resnet18, resnet50, vit-small, swin-tiny or what ships with the method')
    parser.add_argument('--hours', type=float, help='train for about as long, in place of a number of epochs')
    parser.add_argument('--init', metavar='FILE', help='start from the backbone in a file')
    parser.add_argument('--work-dir', help='where all goes (default: work_dirs/pretrain_<name of the data>)')
    parser.add_argument('--seed', type=int, default=0, help='of all that is random (default: 0)')
    parser.add_argument('--overwrite', action='store_true', help='remove the checkpoints of an earlier run')
    parser.add_argument('--dry-run', action='store_true', help='print the table and write the config, no more')


def run(args: Namespace) -> int:
    """Work out a training, and run it; returns the exit code, 1 if the check finds an error."""
    from mmrs_ssl.cli.pretrain import run_pretraining

    return run_pretraining(args)
