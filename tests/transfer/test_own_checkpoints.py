"""The config in a checkpoint is read whether mmengine has formatted its text or not."""

import pytest
from mmengine.config import Config

from mmrs_ssl import get_config
from mmrs_ssl.transfer.own_checkpoints import read_model


@pytest.mark.parametrize('formatted', [True, False])  # tools write it formatted, other tests not (see conftest.py)
def test_text_of_a_config(formatted):
    cfg = Config(
        get_config('mssdf/mssdf_vit-small_1xb64-coslr-100e_geotiff-224px').to_dict(), format_python_code=formatted
    )
    text = cfg.pretty_text
    assert max(map(len, text.splitlines())) < 200 or not formatted
    model = read_model(text)
    assert model['backbone'] == cfg.model.backbone
    assert model['data_preprocessor'] == cfg.model.data_preprocessor
