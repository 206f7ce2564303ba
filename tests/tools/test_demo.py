"""What the demos promise, measured."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'config', 'last', 'pictures'),
    [
        ('CMID', [], 22, True),
        ('DINOMC', ['dino_mc/dino-mc_resnet18_1xb32-coslr-16e_demo-64px'], 16, False),
        ('MSSDF', ['mssdf/mssdf_vit-mini_1xb16-coslr-28e_demo-96px'], 28, True),
    ],
)
def test_pretraining_beats_random_weights_by_ten_points(method, config, last, pictures, tmp_path):
    """The scenes are neither trivial nor noise; the table names files that exist. DEMO_SEEDS=3 takes a mean."""
    random, pretrained = [], []
    seeds = int(os.environ.get('DEMO_SEEDS', 1))  # one takes about ten minutes of a processor
    for seed in range(seeds):
        work = tmp_path / str(seed)
        command = [sys.executable, 'tools/demo.py', *config, '--work-dir', str(work), '--seed', str(seed)]
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        random.append(float(re.search(r'random weights +([\d.]+) %', output)[1]))
        pretrained.append(float(re.search(rf'pre-trained with {method} +([\d.]+) %', output)[1]))
        print(method, seed, random[-1], pretrained[-1], re.search(r'points, \d+ s in all', output)[0])
        assert (work / f'epoch_{last}.pth').is_file()
        assert bool(list(work.glob('*/pictures/*.png'))) == pictures
        assert (work / 'neighbors.png').is_file()
        assert (ROOT / re.search(r'tools/train.py (\S+)', output)[1]).is_file()
    assert all(30 <= accuracy <= 80 for accuracy in random), random
    assert (sum(pretrained) - sum(random)) / seeds >= 10, (random, pretrained)
