"""Arguments that several commands take."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any


def whole(least: int = 1) -> Callable[[str], int]:
    """Make the type of an argument that is a whole number of at least this."""

    def read(text: str) -> int:
        if not text.lstrip('-').isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f'{text!r}; expected a whole number of at least {least}')
        return int(text)

    return read


class Settings(argparse.Action):
    """Read KEY=VALUE by ``OptionAction``, which is imported only when there is something to read."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option: str | None = None) -> None:
        """Put what was read into the namespace."""
        from mmrs_ssl.cli.option_action import OptionAction

        OptionAction(self.option_strings, self.dest)(parser, namespace, values, option)


def add_config_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of all that train or test a config."""
    name = ', or the name of a shipped one (see mmrs-ssl configs)' if parser.get_default('by_name') else ''
    parser.add_argument('config', help=f'config file{name}')
    parser.add_argument('--work-dir', help='where checkpoints and logs go (default: work_dirs/<name of the config>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Settings,
        default={},
        help='override settings of the config, by dotted path or by its short names, e.g. data_root=my/images size=128',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torchrun passes it; everything else reads LOCAL_RANK from the environment
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')


def add_allow_missing(parser: ArgumentParser) -> None:
    """Add the argument by which weights may be missing in a checkpoint."""
    parser.add_argument(
        '--allow-missing',
        nargs='+',
        default=[],
        metavar='PATTERN',
        help="weights that a checkpoint may lack, which then stay random, e.g. 'head.*' of a model to be fine-tuned",
    )


def add_branch(parser: ArgumentParser, default: str = "the one that the method's authors evaluate") -> None:
    """Add the argument that says which network of a checkpoint is taken."""
    parser.add_argument('--branch', choices=['student', 'teacher'], help=f'default: {default} (CMID: student)')


def add_pixel_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that say which network of a checkpoint is measured, and how pixels come to it."""
    parser.add_argument('--config', help='whose model.backbone the weights are of, where the checkpoint says none')
    add_branch(parser, 'the one that its authors evaluate')
    parser.add_argument('--modality', help='of MSSDF: which one the images are (default: the first one)')
    parser.add_argument(
        '--vector', choices=['class', 'mean'], help='class token or mean of the last map (default: as trained)'
    )
    parser.add_argument('--stage', type=int, help='take the output of this one of out_indices (default: the last)')
    parser.add_argument('--size', type=whole(), help='pixels a side (default: as in pre-training)')
    parser.add_argument('--bands', type=int, nargs='+', help='which bands of the files, from 0')
    parser.add_argument('--convert', choices=['rgb'], help='make 8-bit RGB of gray, 16-bit and other pictures')
    parser.add_argument('--mean', type=float, nargs='+', help='of each band (default: as in pre-training)')
    parser.add_argument('--std', type=float, nargs='+', help='of each band')
    parser.add_argument('--batch-size', type=whole(), default=64, help='images at once')


def add_archive_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that name files and how to read them."""
    parser.add_argument(
        'sources',
        nargs='+',
        help="folders (with sub-folders), files or glob patterns; or a config, whose data set's files are read as its "
        'loader does',
    )
    parser.add_argument('--cfg-options', nargs='+', action=Settings, default={}, help='settings of the config')
    parser.add_argument(
        '--files',
        nargs='+',
        default=[],
        metavar='RULE',
        help="which file is which part of a scene, e.g. '{scene}/{band}', or one rule per modality: rgb='{scene}_rgb'",
    )
    parser.add_argument('--band-files', nargs='+', default=[], metavar='BAND', help='bands that have a file each')
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
    parser.add_argument(
        '--nodata-rule',
        choices=['auto', 'all', 'any', 'band'],
        default='auto',
        help='which bands of an empty pixel hold it (default: auto)',
    )
    parser.add_argument('--alpha', choices=['mask', 'data'], help='what a band that is declared alpha is')
    parser.add_argument('--ignore-names', action='store_true', help='take bands by position whatever they are called')
    parser.add_argument('--scale', action='store_true', help="apply the files' own scale and offset per band")
    parser.add_argument(
        '--allow-remote',
        action='store_true',
        help='read addresses (https://..., s3://..., /vsicurl/...) that are given here or named in VRTs',
    )
    parser.add_argument('--roots', nargs='+', default=[], help="further folders where VRTs' sources may lie")


def _band(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _nodata(text: str) -> float | str | None:
    if text == 'declared':
        return 'declared'
    return None if text.lower() == 'none' else float(text)
