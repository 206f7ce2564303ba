"""A long training holds its memory and its open files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.conftest import ROOT, TestProbe, cmid_config
from tests.forked import Run

FILES, ITERATIONS, SETTLED = 100, 2000, 200


def children(pid):
    return [int(each) for each in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def held():
    """Resident bytes and open files of this process and its data workers, each by itself."""
    pids = [os.getpid(), *children(os.getpid())]
    pages = [int(Path(f'/proc/{pid}/statm').read_text().split()[1]) for pid in pids]
    return [[4096 * count for count in pages], [len(list(Path(f'/proc/{pid}/fd').iterdir())) for pid in pids]]


@pytest.mark.slow
def test_memory_and_descriptors_are_flat(tmp_path):
    """2,000 iterations over 100 GeoTIFFs, which are more than are kept open, with two workers that persist."""
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
    config = tmp_path / 'soak.py'
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
custom_hooks = [hook for hook in _base_.custom_hooks if 'Picture' not in hook['type']] + [dict(type='TestProbe')]
work_dir = {str(tmp_path / 'work')!r}
""")
    record = tmp_path / 'held.txt'

    def note(runner):
        if (runner.iter + 1) % SETTLED == 0:
            with record.open('a') as file:
                file.write(f'{held()}\n')

    TestProbe.calls = dict(after_train_iter=note)
    run = Run(tmp_path / 'log', 'train.py', config, '--cfg-options', 'size=64', 'max_value=3000')
    assert run.wait(1500) == [0], run.log.read_text()[-3000:]
    rows = np.array([json.loads(line) for line in record.read_text().splitlines()])  # (10, bytes or files, process)
    assert rows.shape == (ITERATIONS // SETTLED, 2, 3)
    print('MB', (rows[:, 0] / 2**20).round().tolist(), 'files', rows[:, 1].tolist())
    assert (rows[:, 0].max(0) <= 1.05 * rows[0, 0]).all(), rows[:, 0] / 2**20
    assert (rows[:, 1] == rows[0, 1]).all(), rows[:, 1]
