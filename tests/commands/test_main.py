"""``mmrs-ssl`` and the programs of tools/: the same commands, help without heavy imports, examples that parse."""

import importlib.metadata
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mmrs_ssl.archives import band_statistics
from mmrs_ssl.evaluation import frozen, measuring
from mmrs_ssl.rasters import nodata
from mmrs_ssl.synthetic import layouts
from mmrs_ssl.transfer import convert, export, own_checkpoints, targets
from mmrs_ssl.version import __version__
from mmrs_ssl_commands import make_scenes
from mmrs_ssl_commands.main import COMMANDS, main, parser_of, run_command
from tests.conftest import ROOT

# program of tools/ -> command
TOOLS = {
    match[1]: match[2]
    for match in (
        re.match(r"([a-z_]+\.py):run_tool\('([a-z-]+)'\)", f'{path.name}:{line.strip()}')
        for path in sorted((ROOT / 'tools').glob('*.py'))
        for line in path.read_text().splitlines()
    )
    if match
}
HEAVY = ['mmrs_ssl', 'torch', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'rasterio', 'cv2', 'rich']


def examples(text):
    """The command lines in a help, without remarks, an entry each."""
    text = text.replace('\\\n', ' ')
    return [line.strip() for line in text.splitlines() if re.match(r' {4}(mmrs-ssl|python) ', line)]


def test_every_tool_is_a_command_and_every_command_but_one_a_tool():
    assert sorted(TOOLS.values()) == sorted({*COMMANDS} - {'configs'})
    others = {path.name for path in (ROOT / 'tools').glob('*.py')} - TOOLS.keys()
    assert others == {'gpu_check.py'}


def test_help_imports_nothing_heavy():
    """So it comes at once: of mmrs-ssl, of every command, and of every program of tools/."""
    program = f"""
import contextlib, io, runpy, sys
from mmrs_ssl_commands.main import COMMANDS, main
calls = [(main, ['--help']), (main, ['--version']), *((main, [command, '--help']) for command in COMMANDS)]
tools = {sorted((ROOT / 'tools').glob('*.py'))!r}
tools = [str(tool) for tool in tools]
calls += [(lambda argv, tool=tool: runpy.run_path(tool, run_name='__main__'), [tool, '--help']) for tool in tools]
for call, argv in calls:
    sys.argv = argv
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            call(argv)
        except SystemExit as end:
            assert not end.code, argv
    assert 'usage: ' in out.getvalue() or '--version' in argv, argv
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    assert not heavy, (argv, heavy)
print(len(calls))
"""
    program = program.replace('PosixPath', '')
    run = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == 2 + len(COMMANDS) + len(TOOLS) + 1


@pytest.mark.parametrize('command', COMMANDS)
def test_examples_can_be_typed(command):
    """Those of mmrs-ssl in any folder, and those of the tool of this command in a clone."""
    names = ['', *(f'tools/{tool}' for tool, its in TOOLS.items() if its == command)]
    for tool in names:
        parser = parser_of(command, tool)
        called = f'python {tool}' if tool else f'mmrs-ssl {command}'
        shown = [line for line in examples(parser.format_help()) if f'{line} '.startswith(f'{called} ')]
        assert shown
        for line in shown:
            words = shlex.split(line, comments=True)[2:]
            args = parser.parse_args(words)
            assert args.called == (Path(tool).name if tool else called)
            for word in words:
                if word.startswith('configs/'):
                    assert (ROOT / word).is_file()
                elif re.match(r'(cmid|dino_mc|mssdf)/', word):
                    name = word.removesuffix('.py')
                    assert (ROOT / 'configs' / f'{name}.py').is_file()


def test_choices_are_those_of_the_package():
    """They stand in the parsers a second time, which must not import it."""

    def choices(command, option):
        return next(action for action in parser_of(command)._actions if option in action.option_strings)

    assert choices('stats', '--nodata-rule').choices == list(nodata.RULES)
    assert choices('stats', '--quantiles').default == band_statistics.QUANTILES
    assert choices('evaluate', '--few').default == list(measuring.FEW)
    assert choices('evaluate', '--vector').choices == list(frozen.VECTORS)
    assert choices('evaluate', '--branch').choices == list(own_checkpoints.BRANCHES)
    assert choices('export', '--format').choices == list(export.FORMATS)
    assert choices('export', '--for').choices == list(targets.LIBRARIES)
    assert choices('convert', '--to').choices == list(convert.DESTINATIONS)
    assert ', '.join(layouts.LAYOUTS) == make_scenes.LAYOUTS


@pytest.mark.parametrize(
    ('typed', 'meant'), [('trian', 'train'), ('eval', 'evaluate'), ('config', 'configs'), ('zzz', 'train, test, stats')]
)
def test_an_unknown_command_is_told_the_nearest(typed, meant, capsys):
    with pytest.raises(SystemExit) as end:
        main([typed, '--help'])
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f'there is no command {typed!r}' in said
    assert meant in said


def test_version_and_overview(capsys):
    with pytest.raises(SystemExit):
        main(['--version'])
    assert capsys.readouterr().out == f'mmrs_ssl {__version__}\n'
    with pytest.raises(SystemExit) as end:
        main([])
    assert not end.value.code
    said = capsys.readouterr().out
    assert all(re.search(f'^  {command} +{what}$', said, re.MULTILINE) for command, what in COMMANDS.items())


def test_the_script_and_the_module_are_this_program(monkeypatch, capsys):
    script = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['scripts']['mmrs-ssl']
    point = importlib.metadata.EntryPoint('mmrs-ssl', script, 'console_scripts')
    assert point.load() is main
    monkeypatch.setattr(sys, 'argv', ['mmrs_ssl', 'configs', 'list', 'mssdf'])
    with pytest.raises(SystemExit) as end:
        runpy.run_module('mmrs_ssl', run_name='__main__')
    assert end.value.code == 0
    assert 'mssdf/mssdf_vit-small' in capsys.readouterr().out


def test_an_error_is_one_clear_line(tmp_path, capsys):
    """Also one of the arguments, which are read before anything is imported."""
    for argv in (['inspect', str(tmp_path / 'none.pth')], ['train', 'x.py', '--cfg-options', 'epochs']):
        with pytest.raises(SystemExit) as end:
            run_command(argv[0], argv[1:])
        assert end.value.code == 1
        assert capsys.readouterr().err.splitlines()[-1].startswith('error: ')


def test_a_command_trains_a_shipped_config_by_its_name(tmp_path, image_folder, monkeypatch, capfd):
    """In any folder; a tool wants the file, as OpenMMLab's do."""
    monkeypatch.chdir(tmp_path)
    name = 'cmid/cmid_resnet18_1xb32-coslr-22e_demo-64px'
    options = [f'data_root={image_folder}', 'train_dataloader.batch_size=64', 'train_dataloader.num_workers=0']
    options += ['train_dataloader.persistent_workers=False']
    with pytest.raises(SystemExit):
        run_command('train', [name, '--cfg-options', *options])
    assert 'fewer than a batch of 64' in capfd.readouterr().err.splitlines()[-1]
    assert (tmp_path / 'work_dirs' / Path(name).name).is_dir()
    with pytest.raises(SystemExit):
        run_command('train', [name], tool='tools/train.py')
    assert capfd.readouterr().err.splitlines()[-1] == f'error: no config file {name!r}'
    with pytest.raises(SystemExit):
        run_command('train', ['cmid/cmid_resnet18'])
    assert 'near names of those that ship: cmid/cmid_resnet18' in capfd.readouterr().err.splitlines()[-1]
    with pytest.raises(SystemExit):  # it may be meant for a file of one's own
        run_command('train', [f'{Path(name).name}.py'])
    assert 'no config file' in capfd.readouterr().err.splitlines()[-1]
