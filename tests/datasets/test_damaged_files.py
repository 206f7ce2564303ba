"""Damaged files end in a message that names them: never in a crash of the interpreter, a hang or a riddle."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.damage import write_damaged
from tests.rasters.rasters import noise, picture, write_raster


@pytest.mark.slow
def test_three_hundred_damaged_files(tmp_path):
    whole = {}
    blocks = dict(tiled=True, blockxsize=32, blockysize=32)
    write_raster(tmp_path / 'tiled.tif', noise(3, 96, 96), nodata=0, compress='deflate', predictor=2, **blocks)
    write_raster(tmp_path / 'strips.tif', noise(4, 96, 96, 'uint8'), compress='lzw', photometric='rgb', alpha='yes')
    write_raster(tmp_path / 'floats.tif', noise(1, 96, 96, 'float32'), names=('height',))
    write_raster(tmp_path / 'jpeg.tif', noise(3, 96, 96, 'uint8'), compress='jpeg', photometric='ycbcr', **blocks)
    for name in ('a.png', 'a.jpg', 'a.webp', 'a.bmp'):
        cv2.imwrite(str(tmp_path / name), picture(96, 96))
    cv2.imwrite(str(tmp_path / 'deep.png'), picture(96, 96, dtype=np.uint16, top=65536))
    for path in sorted(tmp_path.iterdir()):
        whole[path.name] = path.read_bytes()
    paths = write_damaged(tmp_path / 'damaged', whole, 300)
    run = [sys.executable, '-m', 'tests.datasets.read_damaged', str(tmp_path / 'damaged')]
    child = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    assert child.returncode == 0, child.stderr[-2000:]
    found = [json.loads(line) for line in child.stdout.splitlines() if line.startswith('{')]
    assert [each['path'] for each in found] == list(map(str, paths))
    errors = [(each['path'], each[how]) for each in found for how in ('scene', 'image') if 'error' in each[how]]
    assert len(errors) > 200
    assert not [error for path, error in errors if not error['known'] or path not in error['text']]
    assert len(found) * 2 - len(errors) > 50
    # what decoders say of a picture that is read all the same
    warnings = [line for line in child.stdout.splitlines() if ' WARNING ' in line]
    assert warnings
    assert all('/damaged/' in line for line in warnings)
    assert not child.stderr
