"""Find the command that is asked for, read its arguments, and run it: ``mmrs-ssl COMMAND`` and ``tools/*.py``."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from string import Template
from types import ModuleType

from mmrs_ssl_commands.leaves import leaf

# A command needs no more than its line here and a module of its name beside this one, with `-` for `_`. The module's
# docstring is the help, where $program and $configs stand for how it was called; `add_arguments(parser)` says what it
# takes, and `run(args)` runs it and returns an exit code or None.
COMMANDS = {
    'pretrain': 'pre-train a backbone on your images, with all the rest worked out',
    'check': 'check a config, its data and this machine before a training',
    'train': 'train any config: pre-training, or a downstream task',
    'test': 'evaluate a checkpoint with a config that has a test loader',
    'stats': 'count mean, deviation and quantiles of the bands of an archive',
    'tile': 'cut scenes and labels into tiles',
    'make-scenes': 'write generated scenes in the folder layout of a data set',
    'evaluate': 'say what backbones are worth on labelled images',
    'evaluate-dense': 'say what backbones are worth for land cover or heights',
    'export': 'write the backbone of a checkpoint for other programs',
    'convert': 'convert checkpoints of the published programs, and back',
    'inspect': 'say what a checkpoint is and how to load it',
    'benchmark': 'time training steps or the input pipeline of a config',
    'demo': 'pre-train on generated scenes, and compare with random weights',
    'configs': 'list the configs that ship, or copy one to change it',
}
PROGRAM = 'mmrs-ssl'


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``mmrs-ssl``; returns the exit code."""
    command, *rest = (sys.argv[1:] if argv is None else argv) or ['--help']
    if command in COMMANDS:
        return run_command(command, rest)
    parser = ArgumentParser(PROGRAM, description=_overview(), formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--version', action='version', version=f'mmrs_ssl {leaf("version").__version__}')
    parser.add_argument('command', metavar='COMMAND', help=f'{PROGRAM} COMMAND --help says what it takes')
    parser.parse_args([command])
    near = get_close_matches(command, COMMANDS, n=3, cutoff=0.5)
    meant = f'did you mean {" or ".join(near)}?' if near else f'expected one of {", ".join(COMMANDS)}'
    parser.error(f'there is no command {command!r}; {meant}')


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = '\n'.join(f'  {command:{width}}  {what}' for command, what in COMMANDS.items())
    return (
        f'Self-supervised pre-training on remote-sensing imagery.\n\ncommands:\n{lines}\n\nexample:\n    {PROGRAM} demo'
    )


def run_tool(command: str) -> None:
    """Run a command as the program of ``tools/`` that was called; ends the process where that did not go well."""
    if code := run_command(command, sys.argv[1:], tool=sys.argv[0]):
        sys.exit(code)


def run_command(command: str, argv: Sequence[str], tool: str = '') -> int:
    """Read a command's arguments and run it; returns the exit code. An error ends the process with a clear line."""
    with _clear_errors():
        parser, module = parser_of(command, tool), module_of(command)
        mixed = getattr(module, 'INTERMIXED', False)
        return module.run(parser.parse_intermixed_args(argv) if mixed else parser.parse_args(argv)) or 0


def parser_of(command: str, tool: str = '') -> ArgumentParser:
    """Make the parser of a command, as ``mmrs-ssl`` or a program of ``tools/`` has it.

    In ``mmrs-ssl`` a config may be named as it ships, whatever the folder; a tool takes a path as OpenMMLab's do.
    """
    module = module_of(command)
    called = Path(tool).name if tool else f'{PROGRAM} {command}'
    program, configs = (f'python {tool}', 'configs/') if tool else (called, '')
    text = Template(module.__doc__ or '').substitute(program=program, configs=configs)
    parser = ArgumentParser(called, description=text, formatter_class=RawDescriptionHelpFormatter)
    parser.set_defaults(called=called, by_name=not tool)
    parser.add_argument('--traceback', action='store_true', help='show where an error was raised')
    module.add_arguments(parser)
    return parser


def module_of(command: str) -> ModuleType:
    """Import the module of a command."""
    return import_module(f'mmrs_ssl_commands.{command.replace("-", "_")}')


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except Exception:
        from mmrs_ssl.cli.errors import clear_errors

        with clear_errors():
            raise
