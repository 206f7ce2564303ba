"""tools/train.py, run in this process on small configs: training, resuming, errors."""

import json
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmrs_ssl.cli.train import count_accumulation
from tests.conftest import BACKBONES, TestProbe, build_cmid, cmid_config, dino_config, log_of

NO_PICTURES = 'custom_hooks = [hook for hook in _base_.custom_hooks if "Picture" not in hook["type"]]\n'
PROBED = NO_PICTURES[:-1] + ' + [dict(type="TestProbe")]\n'


def error_of(output):
    """The last paragraph, which is what a user reads first."""
    before, said = output.rsplit('\nerror: ', 1)
    assert re.search(r'\(where it was raised: .*\)\s*$', before), 'a traceback was printed'
    return said


def test_trains_logs_and_saves(make_config, run_tool, tmp_path, image_folder):
    """``data_root`` at the top reaches the nested data set; the backbone's names are mmpretrain's."""
    cfg = make_config(NO_PICTURES, data_root='/nowhere/to/be/found')
    work = tmp_path / 'elsewhere'
    options = ['--cfg-options', f'data_root={image_folder}', 'train_cfg.max_epochs=2']
    code, output = run_tool('train.py', cfg.filename, '--work-dir', work, *options)
    assert code == 0, output
    assert 'eta:' in output
    lines = [json.loads(line) for line in next(work.glob('*/vis_data/scalars.json')).read_text().splitlines()]
    assert [line['step'] for line in lines] == list(range(1, 9))
    for line in lines:
        terms = [line[f'loss_{name}'] for name in ('spatial', 'spectral', 'global', 'local')]
        assert np.isfinite(terms).all()
        assert line['loss'] == pytest.approx(sum(terms), rel=1e-4)
    assert np.prod([line['teacher.momentum'] for line in lines]) == pytest.approx(0.01)
    weights = torch.load(work / 'epoch_2.pth', weights_only=True)['state_dict']
    plain = MODELS.build({**BACKBONES['resnet'][0], 'in_channels': 3})
    assert {key for key in weights if key.startswith('backbone.')} == {f'backbone.{key}' for key in plain.state_dict()}
    start = build_cmid().state_dict()
    assert not torch.equal(weights['backbone.conv1.weight'], start['backbone.conv1.weight'])
    saved = Config.fromfile(work / cfg.filename.rsplit('/', 1)[1])
    assert saved.train_dataloader.dataset.data_root == str(image_folder)


class Stop(Exception):
    """The plug is pulled."""


CMID_STATE = ('backbone.conv1.weight', 'teacher.module.backbone.conv1.weight', 'global_head.queue', 'center.value')


def test_resume_is_the_uninterrupted_run(make_config, run_tool, tmp_path):
    """Weights, teacher, queue, center, optimizer and the next batches, bit for bit; other methods in test_kills.py."""
    model, state = cmid_config(), CMID_STATE
    seen = {}

    def watch(name, stop=None):
        seen[name] = []

        def look(runner, batch):
            if runner.iter == stop:
                raise Stop('the plug is pulled')
            samples = batch['data_samples']
            views = batch['inputs'].values() if isinstance(batch['inputs'], dict) else batch['inputs']
            pixels = [int(view.long().mul(torch.arange(view.shape[-1]) + 1).sum()) for view in views]
            boxes = [sample.boxes.tolist() for sample in samples if 'boxes' in sample]
            masks = torch.get_rng_state().tolist()[:64]
            model = runner.model
            scheduled = getattr(model, 'teacher_temperature', None)
            values = (runner.optim_wrapper.get_lr(), model.teacher.momentum, scheduled)
            seen[name].append((runner.iter, [s.img_path for s in samples], pixels, boxes, masks, values))

        TestProbe.calls = dict(before_train_iter=look)

    cfg = make_config(PROBED, model=model)
    watch('whole')
    assert run_tool('train.py', cfg.filename, '--work-dir', tmp_path / 'whole')[0] == 0
    cfg = make_config(PROBED, model=model)
    watch('first', stop=5)
    code, output = run_tool('train.py', cfg.filename, '--work-dir', tmp_path / 'parts')
    assert code == 1
    assert 'the plug is pulled' in error_of(output)
    assert not (tmp_path / 'parts' / 'epoch_2.pth').exists()
    cfg = make_config(PROBED, model=model)
    watch('second')
    code, output = run_tool('train.py', cfg.filename, '--work-dir', tmp_path / 'parts', '--resume')
    assert code == 0, output

    assert [step[0] for step in seen['second']] == [4, 5, 6, 7]
    assert seen['second'] == seen['whole'][4:]
    whole, parts = (torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True) for name in ('whole', 'parts'))
    assert whole['state_dict'].keys() == parts['state_dict'].keys()
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, parts['state_dict'][key]), key
    first = torch.load(tmp_path / 'whole' / 'epoch_1.pth', weights_only=True)['state_dict']
    for key in state:
        assert not torch.equal(first[key], whole['state_dict'][key]), key  # epoch 2 changed them
    states = [checkpoint['optimizer']['state'] for checkpoint in (whole, parts)]
    for index, averages in states[0].items():
        for name, value in averages.items():
            assert torch.equal(value, states[1][index][name]), (index, name)
    assert whole['param_schedulers'] == parts['param_schedulers']


def test_resume_from_a_named_checkpoint(make_config, run_tool, tmp_path):
    cfg = make_config(NO_PICTURES)
    assert run_tool('train.py', cfg.filename)[0] == 0
    cfg = make_config(NO_PICTURES)
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    code, output = run_tool('train.py', cfg.filename, '--work-dir', tmp_path / 'b', '--resume', checkpoint)
    assert code == 0, output
    whole, parts = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True)['state_dict'] for name in ('work', 'b')
    )
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    assert not (tmp_path / 'b' / 'epoch_1.pth').exists()
    code, output = run_tool('train.py', make_config().filename, '--resume', tmp_path / 'epoch_9.pth')
    assert code == 1
    assert 'epoch_9.pth' in error_of(output)


def test_amp_on_the_cpu(make_config, run_tool):
    if torch.cuda.is_available():
        pytest.skip('bfloat16 autocast on the CPU is for machines without a GPU')
    cfg = make_config(PROBED, model=cmid_config('vit'))
    dtypes = []

    def look(runner, batch):
        if not dtypes:
            model = runner.model
            for module in (model.backbone.layers[0].attn.qkv, model.reconstruction_head.decoder):
                module.register_forward_hook(lambda module, args, out: dtypes.append(out.dtype))

    TestProbe.calls = dict(before_train_iter=look)
    code, output = run_tool('train.py', cfg.filename, '--amp', '--cfg-options', 'train_cfg.max_epochs=2')
    assert code == 0, output
    assert 'mixed precision on the CPU is bfloat16' in output
    assert set(dtypes) == {torch.bfloat16}
    weights = torch.load(f'{cfg.work_dir}/epoch_2.pth', weights_only=True)['state_dict']
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
    assert all(value.isfinite().all() for value in weights.values())


def test_auto_scale_lr(make_config, run_tool, tmp_path):
    rates = {}

    def watch(name):
        rates[name] = []
        TestProbe.calls = dict(before_train_iter=lambda r, b: rates[name].append(r.optim_wrapper.get_lr()['lr'][0]))

    for name, flags in (('plain', []), ('scaled', ['--auto-scale-lr'])):
        watch(name)
        code, output = run_tool('train.py', make_config(PROBED).filename, '--overwrite', *flags)
        assert code == 0, output
    np.testing.assert_allclose(rates['scaled'][:4], np.array(rates['plain'][:4]) * 4 / 256, rtol=1e-6)
    assert max(rates['plain']) == pytest.approx(4e-3, rel=0.1)
    code, output = run_tool('train.py', make_config('auto_scale_lr = dict(_delete_=True)').filename, '--auto-scale-lr')
    assert code == 1
    assert 'auto_scale_lr.base_batch_size' in error_of(output)


# Errors


def test_training_shorter_than_its_warm_up(make_config, run_tool):
    """With schedulers of a fixed length, as the libraries' own configs have them."""
    fixed = """
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=1, convert_to_iter_based=True),
]"""
    code, output = run_tool('train.py', make_config(fixed).filename, '--cfg-options', 'train_cfg.max_epochs=1')
    assert code == 1
    error = error_of(output)
    assert 'train_cfg.max_epochs=1 ends before param_scheduler.1 (CosineAnnealingLR) begins, at epoch 1' in error
    assert '--cfg-options param_scheduler.0.end=1 param_scheduler.1.begin=1' in error


def test_checkpoint_of_another_backbone(make_config, run_tool, tmp_path):
    torch.save(dict(state_dict=build_cmid('vit').state_dict(), meta={}), tmp_path / 'vit.pth')
    code, output = run_tool('train.py', make_config().filename, '--cfg-options', f'load_from={tmp_path / "vit.pth"}')
    assert code == 1
    assert 'does not fit the ResNet of the config' in error_of(output)


def test_missing_data(make_config, run_tool, tmp_path):
    code, output = run_tool('train.py', make_config().filename, '--cfg-options', f'data_root={tmp_path / "gone"}')
    assert code == 1
    assert re.search(r"data_root='.*gone' is no folder, .*; set it with --cfg-options data_root", error_of(output))


def test_head_is_sized_by_the_data_set(make_config, run_tool, tmp_path):
    """The tool counts the images; the checkpoint's config says what was chosen, and that a resumed run is the same."""
    model = dino_config()
    model['head'].pop('num_prototypes')
    cfg = make_config(model=model)
    code, output = run_tool('train.py', cfg.filename, '--cfg-options', 'train_cfg.max_epochs=2')
    assert code == 0, output
    assert '256 prototypes (16 images are too few for the published 65,536 and 0.04)' in output
    checkpoint = torch.load(tmp_path / 'work' / 'epoch_2.pth', weights_only=True)
    assert checkpoint['state_dict']['center.value'].shape == (1, 256)
    assert 'num_images=16' in checkpoint['meta']['cfg']


def test_wrong_bands_and_small_crops(make_config, run_tool):
    code, output = run_tool(
        'train.py',
        make_config().filename,
        '--cfg-options',
        'train_dataloader.dataset.pipeline.0.bands=4',
        'train_dataloader.num_workers=1',
    )
    assert code == 1
    expected = r'16 of 16 images .*: 16 with 3 bands .* /\S+\.jpg\), but bands=4 is configured\. Set bands .* to 3'
    assert re.match(expected, error_of(output))
    assert 'exclude' not in error_of(output)
    code, output = run_tool('train.py', make_config().filename, '--cfg-options', 'size=16')
    assert code == 1
    assert error_of(output).startswith('mask: a view of 16 x 16 pixels cannot be cut into mask blocks of 32 x 32')


def test_a_truncated_image_does_not_end_a_run(make_config, run_tool, image_folder, tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for path in image_folder.glob('*/*.jpg'):
        data = path.read_bytes()
        (folder / path.name).write_bytes(data[: len(data) // 2] if path.name == '05.jpg' else data)
    cfg = make_config(NO_PICTURES, data_root=folder)
    code, output = run_tool('train.py', cfg.filename)
    assert code == 0, output
    log = log_of(cfg.work_dir)
    assert log.count('skipped unreadable image 1 (at most 1 of 16)') == 1
    assert '05.jpg' in log


# Downstream


@pytest.mark.parametrize(('counts', 'expected'), [(1, 256), (4, 64)])
def test_batches_of_a_step_count_for_the_learning_rate(counts, expected):
    """mmengine multiplies it by the loader's batch over this size: four batches a step are four times as many."""
    for enabled in (True, False):
        scale = dict(enable=enabled, base_batch_size=256)
        cfg = Config(dict(auto_scale_lr=scale, optim_wrapper=dict(accumulative_counts=counts)))
        count_accumulation(cfg)
        assert cfg.auto_scale_lr.base_batch_size == (expected if enabled else 256)
