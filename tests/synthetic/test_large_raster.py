"""One raster of many gigabytes: read in constant memory, measured by the benchmark tool."""

import re
import shutil
import subprocess
import sys

import pytest
import rasterio

from mmrs_ssl.synthetic.large_raster import large_scene_bytes, write_large_scene
from tests.conftest import ROOT

CONFIG = 'configs/cmid/cmid_resnet18_1xb64-coslr-100e_geotiff-224px.py'


def benchmark(*args):
    """What the tool prints, and the megabytes that loading took."""
    command = [sys.executable, 'tools/benchmark.py', CONFIG, '--data', *map(str, args)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r'index [\d.]+ s, from headers alone', printed), printed
    assert re.search(r'bare rasterio \d+: ratio [\d.]+', printed), printed
    return printed, int(re.search(r'memory of 2000 windows: (\d+) MB', printed)[1])


def test_large_scene_repeats_generated_scenes(tmp_path):
    write_large_scene(tmp_path / 'a.tif', 2500)
    with rasterio.open(tmp_path / 'a.tif') as file:
        assert (file.shape, file.count, file.dtypes[0]) == ((2500, 2500), 4, 'uint16')
        assert file.block_shapes[0] == (512, 512)
        pixels = file.read(1)
    assert (pixels[:1024, :1024] != pixels[:1024, 1024:2048]).any()
    assert (pixels[:452, :1024] != pixels[1024:1476, :1024]).any()
    assert pixels[2300:, 2300:].std() > 0
    assert (tmp_path / 'a.tif').stat().st_size < large_scene_bytes(2500)


@pytest.mark.slow
def test_two_thousand_windows_of_a_large_scene_in_constant_memory(tmp_path):
    side = 30_000
    needed, free = 1.2 * large_scene_bytes(side), shutil.disk_usage(tmp_path).free
    if free < needed:
        pytest.skip(f'needs {needed / 1e9:.0f} GB of disk in {tmp_path}, {free / 1e9:.0f} GB are free')
    write_large_scene(tmp_path / 'large.tif', side)
    try:
        printed, megabytes = benchmark('--images', tmp_path / 'large.tif')
    finally:
        (tmp_path / 'large.tif').unlink()
    print(printed)
    assert megabytes < 500
