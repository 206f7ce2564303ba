"""The commands of tools/reproduce.md run as they stand there, on files in the published form and generated images."""

import re
import shlex

import pytest
from mmengine.registry import MODELS, init_default_scope

from mmrs_ssl import get_config
from mmrs_ssl.synthetic.layouts import write_layout
from tests.conftest import ROOT, log_of
from tests.transfer.foreign import cmid_training, dino_training

TEXT = (ROOT / 'tools' / 'reproduce.md').read_text()
# a narrow ResNet-18 in the place of the published ResNet-50, one epoch of a few images
MODEL = ['model.backbone.depth=18', 'model.backbone.stem_channels=8', 'model.backbone.base_channels=8']
MODEL += ['model.head.in_channels=64']
SMALL = ['train_dataloader.batch_size=4', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
SMALL += ['param_scheduler.0.end=1', 'param_scheduler.1.begin=0']
LOADERS = [
    f'{split}_dataloader.{option}' for split in ('train', 'val', 'test')
    for option in ('num_workers=0', 'persistent_workers=False')
]  # fmt: skip


def commands(heading):
    """The tools, and their arguments, under a heading."""
    section = TEXT.split(f'## {heading}\n', 1)[1].split('\n## ', 1)[0]
    lines = [line for block in re.findall(r'```shell\n(.*?)```', section, re.S) for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize('write', [cmid_training, dino_training])
def test_what_the_file_is(write, tmp_path, monkeypatch, run_tool):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'published.pth', 'resnet')
    inspect, convert = commands('What the file is')
    for tool, *arguments in (inspect, convert):
        path = tool.removeprefix('tools/')
        code, text = run_tool(path, *[word.replace('CHECKPOINT', 'published.pth') for word in arguments])
        assert code == 0, text
        assert ('CMID' if write is cmid_training else 'DINO-MC') in text
    code, text = run_tool('inspect_checkpoint.py', 'backbone.pth')
    assert code == 0, text
    assert ('student' if write is cmid_training else 'teacher') in text


@pytest.mark.parametrize(('config', 'backbone'), [('vit-small', 'vit-small-p8'), ('resnet50', 'wide-resnet50')])
def test_backbones_that_need_options(config, backbone):
    """As the page has them: the classifier takes all weights of the pre-training's backbone."""
    text = TEXT.split('## DINO-MC on EuroSAT')[1].split('|')[0]
    words = re.search(rf'`{config}_...`\s+with\s+`([^`]*)`', text)[1].split()
    options = {key: int(value) for key, value in (word.split('=') for word in words)}
    init_default_scope('mmpretrain')
    made = get_config(f'dino_mc/dino-mc_{backbone}_4xb64-amp-coslr-300e_seco-224px')
    source = MODELS.build(made.model.backbone).state_dict()
    for kind in ('linear', 'ft'):
        cfg = get_config(f'downstream/classification/{config}_1xb64-{kind}-coslr-100e_eurosat-224px')
        cfg.merge_from_dict(options)
        network = MODELS.build(cfg.model.backbone).state_dict()
        assert {name: value.shape for name, value in network.items()} == {
            name: value.shape for name, value in source.items()
        }


@pytest.mark.slow
@pytest.mark.parametrize(
    ('heading', 'layout', 'write'),
    [('CMID on UC Merced', 'ucm', cmid_training), ('DINO-MC on EuroSAT', 'eurosat', dino_training)],
)
def test_to_a_number(heading, layout, write, tmp_path, monkeypatch, run_tool):
    """From the files as they are downloaded to the evaluation of what was trained."""
    monkeypatch.chdir(tmp_path)
    write_layout(layout, tmp_path / 'data' / layout, scenes=40, size=32)
    write(tmp_path / 'published.pth', 'resnet')
    prepare, train, test = commands(heading)
    classes = len([folder for folder in (tmp_path / prepare[1]).iterdir() if folder.is_dir()])
    prepare[prepare.index('--classes') + 1] = str(classes)  # fewer are generated
    small = [*MODEL, *LOADERS] + [option for option in SMALL if 'param' not in option or '-ft-' in train[1]]
    for (tool, *arguments), options in ((prepare, []), (train, small), (test, [*MODEL, *LOADERS])):
        words = [word.replace('CHECKPOINT', 'published.pth').replace('epoch_100', 'epoch_1') for word in arguments]
        words = [str(ROOT / word) if word.startswith('configs/') else word for word in words]
        if options and '--cfg-options' not in words:
            words.append('--cfg-options')
        code, text = run_tool(tool.removeprefix('tools/'), *words, *options)
        assert code == 0, text[-3000:]
    log = log_of(tmp_path / 'work_dirs' / layout)
    assert re.search(r'^  missing +0$', log, re.M)
    assert '(student, ' in log if write is cmid_training else '(teacher, ' in log
    assert re.search(r'accuracy/top1: +\d', text + log)
