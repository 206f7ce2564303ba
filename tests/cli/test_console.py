"""What a training says before its first epoch: all of it in the file, on the console what a person reads."""

import re
from pathlib import Path

from tests.conftest import cmid_config, log_of


def test_the_console_is_brief_and_the_file_is_not(make_config, run_tool):
    """The wholesale lists of mmengine are in the file alone; what was decided, and warnings, are in both."""
    cfg = make_config(model=cmid_config(), extra='auto_scale_lr = dict(enable=True)')
    path = cfg.filename
    code, said = run_tool('train.py', path, '--cfg-options', 'train_cfg.max_epochs=1')
    assert code == 0
    console, log = said.split('Epoch(train)')[0].splitlines(), log_of(cfg.work_dir)
    start = log.split('Epoch(train)')[0]
    for text in ('System environment:', 'Config:\n', 'Hooks will be executed', 'paramwise_options -- backbone'):
        assert text in start
        assert text not in said
    assert len(start.splitlines()) > 200
    assert len(console) < 20, said
    # nothing else is missing: all that a person reads is in both
    kept = [line for line in start.splitlines() if re.search(r' - (INFO|WARNING) - (?!\s*$)', line)]
    hidden = [line.split(' - ', 3)[3] for line in kept if line.split(' - ', 3)[3] not in said]
    beginnings = ('Config:', 'Hooks will', 'Distributed training is not', 'paramwise', '"FileClient', '"HardDisk')
    assert not [line for line in hidden if not line.startswith(beginnings) and 'is skipped since' not in line]
    (listed,) = re.findall(r'hooks and parameters are listed in (\S+\.log)', said)
    assert 'System environment:' in Path(listed).read_text()
    for text in ('LR is set based on batch size', 'Checkpoints will be saved to'):
        assert text in ' '.join(console)
