"""What ships in the wheel: configs, tools and the model index, by OpenMMLab's ``.mim`` convention."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """The package as a wheel would hold it."""
    copy, out = tmp_path_factory.mktemp('source') / 'repo', tmp_path_factory.mktemp('build')
    skip = shutil.ignore_patterns('__pycache__', '*.pyc')
    for name in ('mmrs_ssl', 'mmrs_ssl_commands', 'configs', 'tools'):
        shutil.copytree(ROOT / name, copy / name, ignore=skip)
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'model-index.yml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, copy / name)
    (copy / 'configs' / '__pycache__').mkdir()
    (copy / 'configs' / '__pycache__' / 'junk.pyc').write_bytes(b'')
    stale = out / 'mmrs_ssl' / '.mim' / 'configs' / 'gone.py'
    stale.parent.mkdir(parents=True)
    stale.write_text('')
    command = [sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', str(out)]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return out / 'mmrs_ssl'


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def test_configs_and_tools_ship_with_the_package(built):
    for name in ('configs', 'tools'):
        assert files(built / '.mim' / name) == files(ROOT / name)  # all of it, and nothing stale
        assert not list((built / '.mim' / name).rglob('__pycache__'))
    assert (built / '.mim' / 'model-index.yml').read_bytes() == (ROOT / 'model-index.yml').read_bytes()
    assert files(ROOT / 'mmrs_ssl').keys() <= files(built).keys()
    assert files(ROOT / 'mmrs_ssl_commands') == files(built.parent / 'mmrs_ssl_commands')


def test_the_command_works_from_a_wheel_in_any_folder(built, tmp_path):
    env = {**os.environ, 'PYTHONPATH': str(built.parent)}
    name = 'cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px'
    code = 'import sys; from mmrs_ssl_commands.main import main; sys.exit(main())'
    for command in (
        [sys.executable, '-c', code, 'configs', 'copy', name],
        [sys.executable, built / '.mim' / 'tools' / 'train.py', '--help'],
    ):
        run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, run.stderr
    assert (tmp_path / 'configs' / f'{name}.py').read_bytes() == (ROOT / 'configs' / f'{name}.py').read_bytes()
    assert run.stdout.startswith('usage: train.py')


def test_the_installed_package_prefers_its_own_configs(built):
    """Even where a ``configs`` folder lies beside it."""
    shutil.copytree(built / '.mim' / 'configs', built.parent / 'configs', dirs_exist_ok=True)
    spec = importlib.util.spec_from_file_location('installed_config', built / 'shipped_configs.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.config_root() == built / '.mim' / 'configs'
    cfg = module.get_config('cmid_resnet18_1xb64-coslr-100e_folder-224px')
    assert cfg.model.backbone.depth == 18
    assert cfg.filename.startswith(str(built / '.mim'))
    shutil.move(built / '.mim', built / '.gone')
    assert module.config_root() == built.parent / 'configs'


def test_the_source_distribution_can_be_built_and_tested(tmp_path):
    """It has the tests, what they were tried with, and the Makefile that runs them."""
    copy = tmp_path / 'repo'
    skip = shutil.ignore_patterns('.*', '__pycache__', '*.pyc', '*.egg-info', 'work_dirs', 'build', 'dist')
    shutil.copytree(ROOT, copy, ignore=skip)
    command = [sys.executable, 'setup.py', '-q', 'sdist', '--dist-dir', str(tmp_path), '--formats', 'tar']
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    (archive,) = tmp_path.glob('*.tar')
    with tarfile.open(archive) as file:
        packed = {name.split('/', 1)[1] for name in file.getnames() if '/' in name}
    folders = ('mmrs_ssl', 'mmrs_ssl_commands', 'configs', 'tools', 'tests', 'requirements')
    wanted = {f'{folder}/{name}' for folder in folders for name in files(copy / folder)}
    wanted |= {path.name for path in copy.iterdir() if path.is_file()}
    assert {'Makefile', 'requirements/constraints.txt', 'tests/golden/cmid.npz', 'tests/mutants/mutants.toml'} <= wanted
    assert wanted <= packed
