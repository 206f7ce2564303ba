"""tools/band_stats.py: what it prints, that the lines can be pasted, and what it refuses."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, DictAction

from mmrs_ssl.registry import MODELS
from tests.archives.test_band_statistics import draw, write
from tests.loopback import serve


def parse_options(line: str) -> dict[str, Any]:
    """What tools/train.py understands."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(shlex.split(line)).cfg_options


def test_tool(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    image = draw('uint16', (3, 200, 300), 0) // 7
    write(tmp_path / 'a.tif', image)
    (tmp_path / 'b.tif').touch()
    code, said = run_tool(
        'band_stats.py', tmp_path, '--processes', 1, '--out', tmp_path / 'stats.json', '--quantiles', 0.5
    )
    assert code == 0
    assert '1 files cannot be read' in said
    assert 'b.tif' in said
    written = json.loads((tmp_path / 'stats.json').read_text())
    np.testing.assert_allclose(written['mean'], image.mean((1, 2)), rtol=1e-9)
    np.testing.assert_allclose(written['std'], image.std((1, 2)), rtol=1e-9)
    assert written['quantiles']['0.5'] == np.quantile(image, 0.5, axis=(1, 2), method='inverted_cdf').tolist()
    assert {key: written[key] for key in ('bands', 'dtype', 'files', 'pixels', 'count', 'nodata_share')} == dict(
        bands=['band 0', 'band 1', 'band 2'],
        dtype='uint16',
        files=1,
        pixels=60000,
        count=[60000] * 3,
        nodata_share=[0.0] * 3,
    )
    lines = said.splitlines()
    line = next(line for line in lines if line.startswith('--cfg-options'))
    assert ', ' not in line
    options = parse_options(line)
    pasted = Config.fromstring('\n'.join(line for line in lines if ' = dict(' in line), '.py')
    plain, stretched = (line for line in lines if 'LoadRaster' in line)
    assert plain.endswith("dict(type='mmrs_ssl.LoadRaster', bands=3)")
    limits = eval(stretched.removeprefix('# '), {}).pop('stretch')
    expected = np.quantile(image, (0.02, 0.98), axis=(1, 2), method='inverted_cdf').T
    np.testing.assert_array_equal(limits, expected)
    merged = Config(dict(model=dict(data_preprocessor=dict()), train_dataloader=dict(dataset=dict())))
    merged.merge_from_dict(options)
    assert merged.to_dict() == pasted.to_dict()
    preprocessor = MODELS.build(dict(type='mmrs_ssl.BandPreprocessor', **merged.model.data_preprocessor))
    np.testing.assert_allclose(preprocessor.mean.ravel(), image.mean((1, 2)), rtol=1e-3)
    np.testing.assert_allclose(preprocessor.std.ravel(), image.std((1, 2)), rtol=1e-3)
    whites = np.quantile(image, 0.999, axis=(1, 2))
    given = np.array(merged.train_dataloader.dataset.max_value)
    assert ((whites <= given) & (given <= 1.1 * whites)).all()


def test_tool_on_bytes_and_constants(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    image = draw('uint8', (2, 30, 30), 0)
    path = write(tmp_path / 'a.tif', image)
    code, said = run_tool('band_stats.py', path, '--processes', 1)
    assert code == 0
    assert '--cfg-options' in said
    assert 'max_value' not in said
    image[1] = 5
    write(path, image, nodata=5)
    code, said = run_tool('band_stats.py', path, '--processes', 1, '--nodata', 'none')
    assert code == 0
    assert 'band 1 is constant' in said
    assert '--cfg-options' not in said
    code, said = run_tool('band_stats.py', path, '--processes', 1, '--out', tmp_path / 'stats.json')
    assert code == 0
    assert 'band 1 is constant' in said  # a band that holds one value beside others with data
    written = json.loads((tmp_path / 'stats.json').read_text())
    assert (written['mean'][1], written['count'][1]) == (5, (image[0] != 5).sum())
    write(path, np.stack([image[0], np.full((30, 30), -1)]).astype(np.int16), nodata=-1)
    code, said = run_tool('band_stats.py', path, '--processes', 1, '--out', tmp_path / 'stats.json')
    assert code == 0
    assert 'band 1 has no valid pixel' in said
    written = json.loads((tmp_path / 'stats.json').read_text())
    assert (written['mean'][1], written['count'][1], written['nodata_share'][1]) == (None, 0, 1.0)


def test_tool_where_nearly_all_values_are_the_same(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    image = np.full((1, 40, 50), 7, np.int16)
    image[0, 0, :5] = -3
    code, said = run_tool('band_stats.py', write(tmp_path / 'a.tif', image), '--processes', 1)
    assert code == 0
    assert 'max_value=7' in said
    assert 'values below 0' in said
    assert 'stretch=' not in said


def test_tool_says_what_is_wrong(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    code, said = run_tool('band_stats.py', tmp_path / 'nowhere')
    assert code == 1
    assert said.splitlines()[-1].startswith('error: ')
    assert 'nowhere: no raster there' in said.splitlines()[-1]
    code, said = run_tool('band_stats.py', tmp_path, '--out', tmp_path / 'nowhere' / 'stats.json')
    assert code == 1
    assert 'there is no folder' in said.splitlines()[-1]
    (tmp_path / 'a.tif').touch()
    code, said = run_tool('band_stats.py', tmp_path, '--processes', 1)
    assert code == 1
    assert 'none of 1 files can be read' in said.splitlines()[-1]
    path = write(tmp_path / 'b.tif', draw('uint8', (3, 20, 30), 0))
    code, said = run_tool('band_stats.py', tmp_path, '--processes', 1, '--strict')
    assert code == 1
    assert 'a.tif' in said.splitlines()[-1]
    code, said = run_tool('band_stats.py', path, '--processes', 1, '--bands', 2, 0, '--scale', '--nodata', 7)
    assert code == 0
    assert "dict(type='mmrs_ssl.LoadRaster', bands=[2, 0], nodata=7.0, unscale=True)" in said
    code, said = run_tool('band_stats.py', path, '--processes', 1, '--bands', 0, 'nir')
    assert code == 1
    assert "b.tif has 3 bands (0 to 2), but bands=[0, 'nir']" in said.splitlines()[-1]


def test_tool_asks_the_network_only_if_told_to(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    image = draw('uint8', (1, 32, 32), 0)
    (tmp_path / 'served').mkdir()
    write(tmp_path / 'served' / 'a.tif', image)
    write(tmp_path / 'served' / 'b.tif', image)
    (tmp_path / 'data').mkdir()
    with serve(tmp_path / 'served') as (address, asked):
        source = f'<SimpleSource><SourceFilename>/vsicurl/{address}/b.tif</SourceFilename></SimpleSource>'
        band = f'<VRTRasterBand dataType="Byte" band="1">{source}</VRTRasterBand>'
        text = f'<VRTDataset rasterXSize="32" rasterYSize="32">{band}</VRTDataset>'
        (tmp_path / 'data' / 'b.vrt').write_text(text)
        for given in (f'{address}/a.tif', tmp_path / 'data'):
            request = ('band_stats.py', given, '--processes', 1, '--out', tmp_path / 'stats.json')
            code, said = run_tool(*request)
            assert code == 1
            assert 'lies on the network' in said.splitlines()[-1]
            assert not asked
            assert run_tool(*request, '--allow-remote')[0] == 0
            assert asked
            asked.clear()
            written = json.loads((tmp_path / 'stats.json').read_text())
            np.testing.assert_allclose(written['mean'], image.mean((1, 2)))
