"""Pre-train on images of which nothing is given but where they are."""

import copy
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmrs_ssl.cli.check import check_config
from mmrs_ssl.cli.checks.findings import print_findings
from mmrs_ssl.cli.checks.machine import Machine
from mmrs_ssl.cli.config import read_config
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.cli.making_room import settings_kept
from mmrs_ssl.cli.pretrain_config import make_config, write_configs
from mmrs_ssl.cli.pretrain_facts import look
from mmrs_ssl.cli.pretrain_machine import machine_choices
from mmrs_ssl.cli.pretrain_result import show_result
from mmrs_ssl.cli.recipe import Chosen, Facts, choose, how_many
from mmrs_ssl.cli.settings import as_whole
from mmrs_ssl.cli.short_names import find_value
from mmrs_ssl.cli.starting import check_file, start_from
from mmrs_ssl.cli.train import train_config
from mmrs_ssl.engine.checkpoint_files import list_checkpoints
from mmrs_ssl.options import COUNT, POSITIVE, WHOLE, check_numbers, refuse
from mmrs_ssl.rasters.access import fixed_folder
from mmrs_ssl.shipped_configs import config_names

_WIDTH = 140  # columns, where the output goes to no terminal
_NUMBERS = ('size', 'window', 'batch', 'epochs')  # that choices are worked out from


def run_pretraining(args: Namespace) -> int:
    """Look at the data, choose, write the config, check, train, and show what it made; returns the exit code.

    Raises:
        FileExistsError: if an earlier run's settings would be written over.
        FileNotFoundError: if there is no data, or no file to start from.
        ValueError: if the data or what is asked for does not fit.
    """
    settings = checked_settings(args.settings, args.hours, args.seed)
    if args.init:
        check_file(args.init)
    folder = Path(args.work_dir or default_folder(args.data))
    old = refuse_checkpoints(folder, args.overwrite, args.dry_run)
    with settings_kept(old, [folder / 'recipe.py', folder / 'config.py']):
        return _choose_and_train(args, settings, folder)


def _choose_and_train(args: Namespace, settings: dict[str, Any], folder: Path) -> int:
    facts = look(args.data, _as_list(settings.get('exclude')))
    recipe = choose(facts, config_names(), args.method, args.backbone, settings)
    cfg, choices = make_config(recipe, args.seed, settings, args.init)
    cfg.work_dir = str(folder)
    if args.init:
        start_from(copy.deepcopy(cfg), args.init, None)  # to know whether its weights fit
    machine = machine_choices(cfg, folder, Machine.here(), recipe.epoch, args.hours)
    cfg._cfg_dict.pop('work_dir')
    config = write_configs(cfg, recipe, choices, machine, folder, args.overwrite)
    print_recipe(facts, choices, machine)
    init = f' --init {args.init}' if args.init else ''
    print(f'config      {config}, the same as: mmrs-ssl train {config}{init}')
    return 0 if args.dry_run else _check_and_train(args, config, folder)


def checked_settings(settings: Mapping[str, Any], hours: float | None, seed: int) -> dict[str, Any]:
    """Return the user's settings, whole numbers as such.

    Raises:
        ValueError: for numbers that cannot be meant, before any is reckoned with.
    """
    checked = {name: as_whole(value) if name in _NUMBERS else value for name, value in settings.items()}
    for name in _NUMBERS:
        if name in checked and not COUNT.fits(checked[name]):
            refuse('', name, checked[name], f'{COUNT}; leave it out to have it worked out from the data')
    check_numbers('', WHOLE, **{'--seed': seed})
    if hours is not None and not POSITIVE.fits(hours):
        refuse('', '--hours', hours, f'{POSITIVE}, e.g. --hours 0.5')
    if hours is not None and (both := {'epochs', 'train_cfg.max_epochs'} & checked.keys()):
        raise ValueError(f'--hours {hours:g} and {min(both)}={checked[min(both)]} both say how long: remove one')
    return checked


def _as_list(patterns: Any) -> list[str] | None:
    return [patterns] if isinstance(patterns, str) else patterns


def default_folder(data: str) -> str:
    """Name the work dir after the data: letters, digits, dots and dashes of its last part, or of its pattern."""
    path = Path(data)
    name = path.resolve().name if path.is_dir() else path.stem
    if has_magic(data) and not path.exists():
        folder = fixed_folder(path)
        name = f'{folder.resolve().name}/{path.relative_to(folder).with_suffix("")}'
    words = re.findall(r'[\w.-]*\w', name)
    return f'work_dirs/pretrain_{"_".join(word.strip("_.-") for word in words) or "data"}'


def refuse_checkpoints(folder: Path, overwrite: bool, dry_run: bool) -> list[Path]:
    """Refuse a work dir with checkpoints, which would be gone on from with other settings than they had.

    Returns:
        Those that are given up.

    Raises:
        FileExistsError: unless ``overwrite`` gives them up, which a dry run does not.
    """
    found = [each.path for each in list_checkpoints(folder) if each.progress is not None]
    if found and (dry_run or not overwrite):
        names = ', '.join(path.name for path in found[:4]) + (' ...' if len(found) > 4 else '')
        remove = 'a dry run removes none' if dry_run else 'remove them with --overwrite'
        raise FileExistsError(
            f'{folder} holds {how_many(len(found), "checkpoint")} of an earlier run ({names}), whose settings would be '
            f'written over: go on from them with mmrs-ssl train {folder / "config.py"} --resume, give another folder '
            f'with --work-dir; {remove}'
        )
    return found


def _check_and_train(args: Namespace, config: Path, folder: Path) -> int:
    options = dict(config=str(config), by_name=False, cfg_options={}, work_dir=None, launcher='none')
    cfg = read_config(Namespace(**options))
    set_precision(cfg, amp=False)
    findings = check_config(cfg)
    print_findings(findings)
    if any(each.level == 'error' for each in findings):
        return 1
    starting = dict(init=args.init, init_branch=None, resume=None, overwrite=args.overwrite, allow_missing=[])
    runner = train_config(Namespace(**options, **starting, no_check=True, amp=False, auto_scale_lr=False))
    show_result(runner, folder, int(find_value(cfg, 'size')))
    return 0


def print_recipe(facts: Facts, choices: Sequence[Chosen], machine: Sequence[Chosen]) -> None:
    """Print what the data is like, and a table of what was chosen: by the data, then by the machine."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for line in facts.said:
        console.print(escape(line), highlight=False)
    table = Table()
    for title in ('setting', 'value', 'why'):
        table.add_column(title, overflow='fold')
    for each in choices:
        table.add_row(*(escape(str(cell)) for cell in each))
    table.add_section()
    for each in machine:
        table.add_row(*(escape(str(cell)) for cell in each), style='dim')
    console.print(table)
