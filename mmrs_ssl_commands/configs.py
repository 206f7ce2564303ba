"""List the configs that ship, or copy one with its bases into a folder, to change it there.

Examples:
    $program list
    $program list cmid
    $program copy cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px my/configs
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmrs_ssl_commands.leaves import leaf


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    listing = actions.add_parser('list', help='print the names, an entry each')
    listing.add_argument('folder', nargs='?', default='', metavar='METHOD', help='only of this one, e.g. cmid')
    copying = actions.add_parser('copy', help='write the file and those it is based on, as they lie in the package')
    copying.add_argument('name', metavar='NAME', help='as list prints it, or the file name alone')
    copying.add_argument('to', nargs='?', type=Path, default='configs', help='folder to write to (default: configs)')


def run(args: Namespace) -> None:
    """List, or copy and say what may be run now."""
    shipped = leaf('shipped_configs')
    if args.action == 'list':
        try:
            print('\n'.join(shipped.config_names(args.folder)), flush=True)
        except BrokenPipeError:  # the reader, such as head, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    copied = shipped.copy_config(args.name, args.to)
    print(f'{copied[0]}\nand {len(copied) - 1} files it is based on; it is trained by: mmrs-ssl train {copied[0]}')
