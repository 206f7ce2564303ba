"""Damaged checkpoints end in a message that names them, and never in torch's advice to run what they hold."""

import collections
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from mmrs_ssl.transfer.sources import read_file
from tests.conftest import ROOT
from tests.damage import write_damaged

ADVICE = ('weights_only', 'torch.load', 'add_safe_globals', 'trust the source')


@pytest.fixture
def whole(tmp_path):
    """A checkpoint of every kind there is: zip, another program's, legacy pickle, TorchScript, safetensors."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 8))
    content = dict(state_dict=model.state_dict(), meta=dict(epoch=1, config='x'), message_hub=HistoryBuffer([1.0], [1]))
    torch.save(content, tmp_path / 'zip.pth')
    torch.save(dict(content, log=collections.deque([1.0]), rate=np.float64(0.1)), tmp_path / 'foreign.pth')
    torch.save(content, tmp_path / 'legacy.pth', _use_new_zipfile_serialization=False)
    torch.jit.script(model).save(tmp_path / 'script.pth')
    save_file(model.state_dict(), tmp_path / 'weights.safetensors')
    return tmp_path


def test_torchscript_and_foreign_files_are_refused_in_our_words(whole):
    torch.save(torch.nn.Linear(1, 1), whole / 'module.pth')
    torch.save(torch.nn.Linear(1, 1), whole / 'old_module.pth', _use_new_zipfile_serialization=False)
    (whole / 'empty.pth').touch()
    (whole / 'text.pth').write_text('version https://git-lfs.github.com/spec/v1\n')
    for name in ('script.pth', 'module.pth', 'old_module.pth', 'empty.pth', 'text.pth'):
        with pytest.raises(ValueError, match=rf'{name} is refused, nothing in it was run') as caught:
            read_file(whole / name)
        assert not [word for word in ADVICE if word in str(caught.value)]
    for name in ('zip.pth', 'foreign.pth', 'legacy.pth', 'weights.safetensors'):
        assert read_file(whole / name)


@pytest.mark.slow
def test_a_hundred_damaged_checkpoints(whole):
    contents = {path.name: path.read_bytes() for path in sorted(whole.iterdir())}
    paths = write_damaged(whole / 'damaged', contents, 100)
    run = [sys.executable, '-m', 'tests.transfer.read_damaged', str(whole / 'damaged')]
    child = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    assert child.returncode == 0, child.stderr[-2000:]
    found = [json.loads(line) for line in child.stdout.splitlines() if line.startswith('{')]
    assert [each['path'] for each in found] == list(map(str, paths))
    errors = [each for each in found if 'error' in each]
    assert len(errors) > 50
    assert not [each for each in errors if not each['known'] or each['path'] not in each['text']]
    assert not [each for each in errors if any(word in each['text'] for word in ADVICE)]
    assert not [line for line in child.stderr.splitlines() if any(word in line for word in ADVICE)], child.stderr
