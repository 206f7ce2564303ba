"""What ships in the wheel: configs, tools and the model index, by OpenMMLab's ``.mim`` convention."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import mmrs_ssl
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
    skip = shutil.ignore_patterns('.*', '__pycache__', '*.pyc', '*.egg-info', 'work_dirs', '_build', 'build', 'dist')
    shutil.copytree(ROOT, copy, ignore=skip)
    command = [sys.executable, 'setup.py', '-q', 'sdist', '--dist-dir', str(tmp_path), '--formats', 'tar']
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    (archive,) = tmp_path.glob('*.tar')
    with tarfile.open(archive) as file:
        packed = {name.split('/', 1)[1] for name in file.getnames() if '/' in name}
    folders = ('mmrs_ssl', 'mmrs_ssl_commands', 'configs', 'docs', 'tools', 'tests', 'requirements')
    wanted = {f'{folder}/{name}' for folder in folders for name in files(copy / folder)}
    wanted |= {path.name for path in copy.iterdir() if path.is_file()}
    assert {'Makefile', 'requirements/constraints.txt', 'tests/golden/cmid.npz', 'tests/mutants/mutants.toml'} <= wanted
    assert wanted <= packed


def test_types_ship(built):
    assert (built / 'py.typed').is_file()


@pytest.fixture(scope='module')
def project():
    return tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']


def requirements(lines):
    return {requirement.name: requirement.specifier for requirement in map(Requirement, lines)}


def test_the_core_compiles_nothing_and_chooses_neither_mmcv_nor_opencv(project):
    core, extras = requirements(project['dependencies']), project['optional-dependencies']
    assert not [name for name in core if 'mmcv' in name or 'opencv' in name]
    assert '2.15.0' in core['torch']
    assert list(requirements(extras['pretrain'])) == ['mmcv-lite']
    downstream = requirements(extras['downstream'])
    assert '2.1.0' in downstream['mmcv']
    assert 'mmcv-lite' not in downstream
    assert '2.13.0' in downstream['torch']
    assert '2.14.0' not in downstream['torch']


def test_the_tested_versions_are_allowed_ones(project):
    allowed = [project['dependencies'], *project['optional-dependencies'].values()]
    pinned = requirements((ROOT / 'requirements' / 'constraints.txt').read_text().splitlines())
    for declared in map(requirements, allowed):
        for name in declared.keys() & pinned.keys():
            version = str(pinned[name]).removeprefix('==')
            assert version in declared[name] or name == 'setuptools', name
        # the oldest version of everything can be asked for
        assert not [name for name, specifier in declared.items() if not str(specifier)]


def make(*arguments, folder=ROOT):
    command = ['make', '--dry-run', '--no-print-directory', '--directory', str(folder), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return run.returncode, run.stdout + run.stderr


def stamp(folder, name):
    """Something was installed, after pyproject.toml was changed."""
    (folder / 'bin').mkdir(exist_ok=True)
    (folder / 'bin' / 'uv').touch()
    (folder / name).touch()


def test_the_demo_installs_what_pretraining_needs(tmp_path):
    code, output = make('demo', f'VENV={tmp_path}')
    assert code == 0
    assert "'.[pretrain]'" in output
    assert 'downstream' not in output
    assert output.index('-m venv') < output.index('pip install --quiet uv') < output.index("'.[pretrain]'")
    stamp(tmp_path, '.pretrain')
    assert make('demo', f'VENV={tmp_path}') == (0, f'{tmp_path}/bin/python tools/demo.py\n')


def test_mmcv_takes_the_place_of_its_lite_form(tmp_path):
    stamp(tmp_path, '.pretrain')
    code, output = make('install', f'VENV={tmp_path}')
    assert code == 0
    steps = ["'.[downstream,dev]'", f'rm -f {tmp_path}/.pretrain', 'uninstall --quiet mmcv mmcv-lite', 'touch']
    places = [output.index(step) for step in steps]
    assert places == sorted(places)  # compiled while the lite form works
    assert output.index("'.[downstream,dev]'", places[2]) < places[3]


def test_after_the_tests_the_demo_installs_nothing(tmp_path):
    stamp(tmp_path, '.downstream')
    assert make('demo', f'VENV={tmp_path}') == (0, f'{tmp_path}/bin/python tools/demo.py\n')


@pytest.mark.parametrize(
    ('dependencies', 'option'),
    [('tested', '--constraint requirements/'), ('lowest', '--resolution lowest-direct'), ('newest', '--upgrade')],
)
def test_versions_are_chosen_by_a_word(tmp_path, dependencies, option):
    assert f'pip install {option}' in make('demo', f'VENV={tmp_path}', f'DEPENDENCIES={dependencies}')[1]


def test_a_word_for_versions_that_is_none(tmp_path):
    code, output = make('demo', f'VENV={tmp_path}', 'DEPENDENCIES=oldest')
    assert code == 2
    assert 'DEPENDENCIES is tested, lowest or newest, not oldest' in output


def test_what_runs_elsewhere_calls_what_is_here(project):
    workflow = yaml.safe_load((ROOT / '.github' / 'workflows' / 'ci.yml').read_text())
    test = workflow['jobs']['test']
    rows = test['strategy']['matrix']['include']
    said = {line.rsplit(' ', 1)[-1] for line in project['classifiers'] if ':: 3.' in line}
    assert {row['python'] for row in rows if row['dependencies'] == 'tested'} == said
    assert {row['dependencies'] for row in rows} == {'tested', 'lowest', 'newest'}
    commands = [step['run'] for job in workflow['jobs'].values() for step in job['steps'] if 'run' in step]
    assert len(commands) == 4
    for command in commands:
        program, target, *_ = command.split()
        assert program == 'make'
        assert f'\n{target}: ' in (ROOT / 'Makefile').read_text()


def test_programs_before_a_commit_are_installed():
    hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos'][0]['hooks']
    programs = {hook['entry'].split()[0] for hook in hooks}
    assert {'.venv/bin/ruff', '.venv/bin/codespell', '.venv/bin/mypy'} < programs
    there = Path(sys.executable).parent
    assert not [program for program in programs if not (there / program.removeprefix('.venv/bin/')).is_file()]


def test_a_citation_names_this_version():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == mmrs_ssl.__version__
    assert citation['authors'] == [{'name': 'The mmrs_ssl contributors'}]


@pytest.fixture
def release(tmp_path):
    """Try to release a copy in which nothing is missing but what ``changes`` spoil."""

    def run(*arguments, changes=(), commit=True):
        copy = tmp_path / 'repo'
        for name in ('.ci/release', 'mmrs_ssl/version.py', 'CITATION.cff', 'CHANGELOG.md'):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        for name, old, new in [('CHANGELOG.md', '(unreleased)', '(2027-01-02)'), *changes]:
            text = (copy / name).read_text()
            assert old in text
            (copy / name).write_text(text.replace(old, new))
        git = ['git', '-C', str(copy), '-c', 'user.name=n', '-c', 'user.email=e@x.org']
        subprocess.run([*git, 'init', '--quiet'], check=True)
        if commit:
            subprocess.run([*git, 'add', '.'], check=True)
            subprocess.run([*git, 'commit', '--quiet', '--message', 'm'], check=True)
        env = {**os.environ, 'UV': '/bin/false', 'PYTHON': sys.executable}  # ends where it would begin to build
        command = ['bash', str(copy / '.ci' / 'release'), *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        tags = subprocess.run([*git, 'tag'], capture_output=True, text=True, check=True).stdout
        return done.returncode, done.stderr, tags

    return run


@pytest.mark.parametrize(
    ('arguments', 'changes', 'commit', 'expected'),
    [
        ([], [], True, "the version is like 0.2.0 or 0.2.0rc1, not ''"),
        (['1.0'], [], True, "not '1.0'"),
        (['9.0.0'], [], True, 'mmrs_ssl/version.py has another version than 9.0.0'),
        (['{}'], [('CITATION.cff', 'version: 0', 'version: 8')], True, 'CITATION.cff has another version'),
        (['{}'], [('CHANGELOG.md', '(2027-01-02)', '(unreleased)')], True, "CHANGELOG.md has no section '## {} (20"),
        (['{}'], [], False, 'there are changes that are not committed'),
        (['{}', '--push'], [], True, "'--push' is no option; there is --tag"),
    ],
)
def test_a_release_that_is_not_ready_is_refused(release, arguments, changes, commit, expected):
    version = mmrs_ssl.__version__
    code, output, tags = release(*(each.format(version) for each in arguments), changes=changes, commit=commit)
    assert code == 1
    assert output.startswith('release: ')
    assert expected.format(version) in output
    assert not tags


def test_a_release_that_is_ready_goes_on_to_build_and_is_not_tagged_before(release):
    assert release(mmrs_ssl.__version__, '--tag') == (1, '', '')  # /bin/false in uv's place
