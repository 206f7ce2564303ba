"""What is not installed is named in one sentence, with the line that brings it."""

import os
import subprocess
import sys
from importlib import import_module

import pytest

from mmrs_ssl import installation
from mmrs_ssl.cli.errors import explain
from mmrs_ssl.installation import check_installation, explain_missing
from tests.conftest import ROOT

LIBGL = 'libGL.so.1: cannot open shared object file: No such file or directory'
TRANSFORMER = 'mmcv/cnn/bricks/transformer.py'
LITE = 'Fail to import ``MultiScaleDeformableAttention`` from ``mmcv.ops.multi_scale_deform_attn``, You should install'


@pytest.fixture
def environment(tmp_path):
    """Run the check where nothing but these modules and distributions is installed."""

    def run(modules, distributions=()):
        for name, text in {'cv2.py': '', **modules}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in distributions:
            folder = tmp_path / f'{name.replace("-", "_")}-2.1.0.dist-info'
            folder.mkdir()
            (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 2.1.0\n')
        code = f"""
import runpy, sys
sys.path.insert(0, {str(tmp_path)!r})
runpy.run_path({installation.__file__!r})['check_installation']()
"""
        command = [sys.executable, '-I', '-S', '-c', code]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return run.returncode, run.stderr

    return run


def package(warned=''):
    return {'mmcv/__init__.py': '', 'mmcv/cnn/__init__.py': '', 'mmcv/cnn/bricks/__init__.py': '', TRANSFORMER: warned}


def test_without_any_mmcv_the_error_names_both_extras(environment):
    code, output = environment({})
    assert code == 1
    error = output.strip().rsplit('\n', 1)[-1]
    assert error.startswith("ModuleNotFoundError: mmrs_ssl needs mmcv: pip install 'mmrs_ssl[pretrain]'")
    assert "'mmrs_ssl[downstream]'" in error
    assert 'uninstall' not in error


@pytest.mark.parametrize('rest', [{}, {'mmcv/_ext.so': ''}])
def test_one_form_removed_took_the_files_of_the_other(environment, rest):
    code, output = environment(rest, ['mmcv-lite'])
    assert code == 1
    assert 'the files of mmcv-lite are gone: mmcv and mmcv-lite have the same' in output
    assert 'pip uninstall -y mmcv-lite; then pip install' in output


@pytest.mark.parametrize('form', ['mmcv', 'mmcv-lite', 'onedl-mmcv', None])
def test_any_one_form_is_enough(environment, form):
    assert environment(package(), [form] if form else []) == (0, '')


def test_two_forms_are_warned_of_once(environment):
    code, output = environment(package(), ['mmcv', 'mmcv-lite'])
    assert code == 0
    assert output.count('UserWarning') == 1
    assert 'mmcv and mmcv-lite are both installed and have the same files' in output
    assert 'pip uninstall -y mmcv mmcv-lite' in output


def test_only_the_warning_of_an_operator_is_kept_back(environment):
    code, output = environment(package(f'import warnings\nwarnings.warn({LITE!r})\nwarnings.warn("other")\n'))
    assert code == 0
    assert output.count('UserWarning') == 1
    assert 'UserWarning: other' in output


def test_opencv_without_libgl(environment):
    code, output = environment({'cv2.py': f'raise ImportError({LIBGL!r})', **package()})
    assert code == 1
    assert f'ImportError: OpenCV cannot be imported ({LIBGL})' in output
    assert 'pip install opencv-python-headless' in output


def test_the_package_checks_before_it_imports_anything_else(tmp_path):
    (tmp_path / 'cv2.py').write_text(f'raise ImportError({LIBGL!r})')
    env = {**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'}
    command = [sys.executable, '-c', 'import mmrs_ssl']
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert 'ImportError: OpenCV cannot be imported' in run.stderr


def test_this_environment_is_complete():
    check_installation()  # warnings are errors


@pytest.mark.parametrize(
    ('module', 'named'), [('mmcv._ext', "mmcv's operators are"), ('mmseg', 'mmseg is'), ('ftfy', 'ftfy is')]
)
def test_missing_downstream_modules(monkeypatch, module, named):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        import_module(module)
    outer = ValueError('base.py, line 3: no')
    outer.__cause__ = caught.value
    for error in (caught.value, outer):
        assert explain(error).startswith(f'{named} not installed; pre-training needs none of the [downstream] extra')
        assert 'make install' in explain(error)


def test_a_base_of_a_library_that_is_not_installed(tmp_path, monkeypatch, run_tool):
    monkeypatch.setattr('mmengine.config.config.is_installed', lambda package: False)
    config = tmp_path / 'config.py'
    config.write_text("_base_ = ['mmseg::_base_/default_runtime.py']\n")
    code, output = run_tool('train.py', config)
    assert code == 1
    assert 'error: mmsegmentation is not installed; pre-training needs none of the [downstream] extra' in output


@pytest.mark.parametrize('error', [ModuleNotFoundError("No module named 'mine'", name='mine'), ValueError('mmseg')])
def test_other_errors_are_not_explained(error):
    assert explain_missing(error) is None
