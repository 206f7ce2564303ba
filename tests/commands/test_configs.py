"""``mmrs-ssl configs``: what ships is listed, and a copy is the same config where only the copy is."""

import pytest
from mmengine.config import Config

import mmrs_ssl
from mmrs_ssl.shipped_configs import config_names, copy_config
from mmrs_ssl_commands.main import main
from tests.conftest import ROOT


def test_list(capsys):
    assert main(['configs', 'list']) == 0
    names = capsys.readouterr().out.split()
    files = [path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts]
    assert names == sorted(file.relative_to(ROOT / 'configs').with_suffix('').as_posix() for file in files)
    assert main(['configs', 'list', 'downstream/detection/']) == 0
    assert capsys.readouterr().out.split() == [name for name in names if name.startswith('downstream/detection/')]
    with pytest.raises(FileNotFoundError, match=r"no configs in 'moco'; expected one of cmid, dino_mc, .*mssdf"):
        config_names('moco')


@pytest.mark.parametrize(
    'name',
    [
        'cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px',
        'dino_mc/dino-mc_resnet18_1xb32-coslr-16e_demo-64px.py',
        'mssdf_vit-small_1xb64-coslr-100e_geotiff-224px',  # the file name alone, which is unique
    ],
)
def test_a_copy_is_the_same_config(name, tmp_path, capsys):
    assert main(['configs', 'copy', name, str(tmp_path / 'mine')]) == 0
    path = capsys.readouterr().out.splitlines()[0]
    assert path.startswith(str(tmp_path / 'mine'))
    read = Config.fromfile(path)
    assert read.to_dict() == mmrs_ssl.get_config(name).to_dict()
    assert not set(read.filename.split('/')) & {ROOT.name, 'site-packages'} - set(tmp_path.parts)
    for file in (tmp_path / 'mine').rglob('*.py'):
        assert file.read_bytes() == (ROOT / 'configs' / file.relative_to(tmp_path / 'mine')).read_bytes()


def test_nothing_of_the_user_is_written_over(tmp_path):
    first = copy_config('cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px', tmp_path)
    assert copy_config('cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px', tmp_path) == first  # the same once more
    first[-1].write_text('data_root = "mine"\n')
    other = 'cmid/cmid_resnet50_1xb64-coslr-100e_folder-224px'
    with pytest.raises(FileExistsError, match=rf'{first[-1].name} is there already, and is another file'):
        copy_config(other, tmp_path)
    assert first[-1].read_text() == 'data_root = "mine"\n'
    assert not (tmp_path / f'{other}.py').exists()
    with pytest.raises(FileNotFoundError, match='near names: cmid/cmid_resnet50'):
        copy_config('cmid/cmid_resnet50', tmp_path)
