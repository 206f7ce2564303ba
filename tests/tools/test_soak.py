"""A long training holds its memory and its open files."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio

from tests.conftest import ROOT, cmid_config

FILES, ITERATIONS, SETTLED = 100, 2000, 200


@pytest.mark.slow
def test_memory_and_descriptors_are_flat(tmp_path):
    """2,000 iterations over 100 GeoTIFFs, which are more than are kept open, with two workers that persist.

    In a new process: one that is forked from the tests' copies their memory bit by bit.
    """
    rng = np.random.default_rng(0)
    scenes = tmp_path / 'scenes'
    scenes.mkdir()
    for number in range(FILES):
        profile = dict(
            driver='GTiff', count=4, dtype='uint16', height=64, width=64, tiled=True, blockxsize=32, blockysize=32
        )
        transform = rasterio.transform.from_origin(number * 1000, 0, 1, 1)
        with rasterio.open(scenes / f'{number}.tif', 'w', crs='EPSG:32632', transform=transform, **profile) as file:
            file.write(rng.integers(1, 3000, (4, 64, 64), dtype=np.uint16))
    config, record = tmp_path / 'soak.py', tmp_path / 'held.txt'
    base = ROOT / 'configs' / '_base_'
    model = cmid_config(bands=4)
    model['backbone']['in_channels'] = 4
    model['data_preprocessor'].update(mean=[1500.0] * 4, std=[866.0] * 4)  # of these pixels
    config.write_text(f"""
_base_ = ['{base}/datasets/geotiff.py', '{base}/schedules/cmid_adan_100e.py', '{base}/default_runtime.py']
model = {model!r}
train_dataloader = dict(
    batch_size=4, num_workers=2, persistent_workers=True, dataset=dict(data_root={str(scenes)!r}, window=64)
)
train_cfg = dict(max_epochs={ITERATIONS * 4 // FILES})
custom_imports = dict(imports=['mmrs_ssl', 'tests.tools.held_memory'], allow_failed_imports=False)
custom_hooks = [hook for hook in _base_.custom_hooks if 'Picture' not in hook['type']]
custom_hooks += [dict(type='HeldMemoryHook', file={str(record)!r}, interval={SETTLED})]
work_dir = {str(tmp_path / 'work')!r}
""")
    command = [sys.executable, ROOT / 'tools' / 'train.py', config, '--cfg-options', 'size=64', 'max_value=3000']
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = np.array([json.loads(line) for line in record.read_text().splitlines()])  # (10, bytes or files, process)
    assert rows.shape == (ITERATIONS // SETTLED, 2, 3)
    print('MB', (rows[:, 0] / 2**20).round().tolist(), 'files', rows[:, 1].tolist())
    assert (rows[:, 0].max(0) <= 1.05 * rows[0, 0]).all(), rows[:, 0] / 2**20
    assert (rows[:, 1] == rows[0, 1]).all(), rows[:, 1]
