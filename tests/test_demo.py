"""What the demo promises, measured."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_pretraining_beats_random_weights_by_ten_points(tmp_path):
    """Mean of three seeds; the scenes are neither trivial nor noise; the table names files that exist."""
    random, pretrained = [], []
    for seed in range(3):
        command = [sys.executable, 'tools/demo.py', '--work-dir', str(tmp_path / str(seed)), '--seed', str(seed)]
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        random.append(float(re.search(r'random weights +([\d.]+) %', output)[1]))
        pretrained.append(float(re.search(r'pre-trained with CMID +([\d.]+) %', output)[1]))
        print(seed, random[-1], pretrained[-1], re.search(r'points, \d+ s in all', output)[0])
        assert (tmp_path / str(seed) / 'epoch_22.pth').is_file()
        assert list((tmp_path / str(seed)).glob('*/pictures/*.png'))
    assert all(30 <= accuracy <= 80 for accuracy in random), random
    assert sum(pretrained) / 3 - sum(random) / 3 >= 10, (random, pretrained)
