"""Pre-train on images of which nothing is given but where they are."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmrs_ssl.cli.check import check_config
from mmrs_ssl.cli.checks.findings import print_findings
from mmrs_ssl.cli.checks.machine import Machine
from mmrs_ssl.cli.config import read_config
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.cli.pretrain_config import make_config, write_configs
from mmrs_ssl.cli.pretrain_facts import look
from mmrs_ssl.cli.pretrain_machine import machine_choices
from mmrs_ssl.cli.pretrain_result import show_result
from mmrs_ssl.cli.recipe import Chosen, Facts, choose
from mmrs_ssl.cli.short_names import find_value
from mmrs_ssl.cli.starting import check_file
from mmrs_ssl.cli.train import train_config
from mmrs_ssl.shipped_configs import config_names

_WIDTH = 140  # columns, where the output goes to no terminal


def run_pretraining(args: Namespace) -> int:
    """Look at the data, choose, write the config, check, train, and show what it made; returns the exit code.

    Raises:
        FileNotFoundError: if there is no data, or no file to start from.
        ValueError: if the data or what is asked for does not fit.
    """
    if args.hours is not None and (args.hours <= 0 or 'epochs' in args.settings):
        raise ValueError(f'--hours {args.hours:g}: expected a number above 0, and no epochs=... beside it')
    if args.init:
        check_file(args.init)
    facts = look(args.data)
    recipe = choose(facts, config_names(), args.method, args.backbone, args.settings)
    folder = Path(args.work_dir or f'work_dirs/pretrain_{Path(args.data).resolve().stem}')
    cfg, choices = make_config(recipe, args.seed, args.settings)
    cfg.work_dir = str(folder)
    machine = machine_choices(cfg, folder, Machine.here(), recipe.epoch, args.hours)
    cfg._cfg_dict.pop('work_dir')
    config = write_configs(cfg, recipe, choices, machine, folder)
    print_recipe(facts, choices, machine)
    print(f'config      {config}, the same as: mmrs-ssl train {config}')
    return 0 if args.dry_run else _check_and_train(args, config, folder)


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
