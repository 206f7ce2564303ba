"""Configs and the options given for them on the command line."""

import re
import sys

import pytest
from mmengine.config import Config

from mmrs_ssl.cli.config import override
from tests.tools.test_train import error_of


def test_unknown_top_key(make_config, run_tool):
    code, output = run_tool('train.py', make_config().filename, '--cfg-options', 'modle.mask_ratio=0.5')
    assert code == 1
    expected = "--cfg-options modle.mask_ratio: the config has no key 'modle'; did you mean model"
    assert error_of(output).startswith(expected)


def test_missing_config(make_config, run_tool, tmp_path):
    name = make_config().filename.rsplit('/', 1)[1]
    code, output = run_tool('train.py', tmp_path / 'tyni.py')
    assert code == 1
    assert re.search(rf"no config file '.*tyni\.py'; in that folder: .*{name}", error_of(output))


def test_an_option_that_would_do_nothing():
    cfg = Config(dict(crop=96, train_dataloader=dict(batch_size=2)))
    with pytest.raises(KeyError, match="'crop' is a variable of the config file"):
        override(cfg, {'crop': 64})
    override(cfg, {'train_dataloader.batch_size': 4})
    assert cfg.train_dataloader.batch_size == 4


@pytest.mark.parametrize('part', ['CMIDViews', '2', '-1'])
def test_an_element_that_a_list_does_not_have(part):
    def config():
        return Config(dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='LoadRaster'), dict(type='Pack')]))))

    path = 'train_dataloader.dataset.pipeline'
    with pytest.raises(
        KeyError, match=rf'{path}\.{part}\.size: {path} is a list; expected one of 0: LoadRaster, 1: Pack'
    ):
        override(config(), {f'{path}.{part}.size': 8})
    cfg = config()
    override(cfg, {f'{path}.1.size': 8, 'train_dataloader.batch_size': 4})
    assert (cfg.train_dataloader.dataset.pipeline[1].size, cfg.train_dataloader.batch_size) == (8, 4)


def test_modules_that_an_option_names_are_imported(tmp_path, monkeypatch):
    """As those that the file names are; one that is not there is an error."""
    (tmp_path / 'extra_methods.py').write_text('here = True\n')
    monkeypatch.syspath_prepend(tmp_path)
    cfg = Config(dict(model=dict(type='CMID')))
    override(cfg, {'custom_imports': dict(imports=['extra_methods'], allow_failed_imports=False)})
    assert sys.modules.pop('extra_methods').here
    with pytest.raises(ImportError, match='no_such_methods'):
        override(cfg, {'custom_imports.imports': ['no_such_methods']})
