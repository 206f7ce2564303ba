"""tools/benchmark.py on small models: what it prints adds up."""

import re

import numpy as np
import pytest
import torch

from mmrs_ssl import get_config
from mmrs_ssl.benchmarks.steps import Step
from mmrs_ssl.cli.config import override
from tests.conftest import cmid_config, dino_config, mssdf_config
from tests.fourth import fourth_config
from tests.test_mmpretrain_configs import shrink

AMP = "optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=1.0)\n"


@pytest.mark.parametrize(
    ('model', 'sides'),
    [(cmid_config(), '64 64'), (dino_config('vit'), '64 64 44 40'), (mssdf_config(), '64 64')],
)
def test_parts_of_a_step_add_up(make_config, run_tool, image_folder, model, sides):
    """Of a config for mixed precision, whose step is timed in float32 first."""
    cfg = make_config(AMP, model=model)
    options = ['--batch-size', 2, '--steps', 2]
    if model['type'] != 'mmrs_ssl.MSSDF':  # whose scenes are generated
        options += ['--images', image_folder]
    code, printed = run_tool('benchmark.py', cfg.filename, *options)
    assert code == 0, printed
    assert f'batch 2, {sides} px' in printed
    step, bare, heads, optimizer, teacher, ratio = map(
        float,
        re.search(
            r'step ([\d.]+) s = bare compute ([\d.]+) s \+ heads and losses (-?[\d.]+) s \+ optimizer ([\d.]+) s '
            r'\+ teacher update ([\d.]+) s;  ratio to bare ([\d.]+)',
            printed,
        ).groups(),
    )
    assert bare > 0
    assert step == pytest.approx(bare + heads + optimizer + teacher, abs=0.003)
    assert ratio == pytest.approx(step / bare, rel=0.3)  # of times printed to the millisecond


def test_a_method_that_names_no_passes_is_timed_by_those_of_its_backbone(make_config, run_tool, image_folder):
    """Which is the student's alone; there is a teacher to update all the same."""
    cfg = make_config(model=fourth_config())
    code, printed = run_tool('benchmark.py', cfg.filename, '--batch-size', 2, '--steps', 1, '--images', image_folder)
    assert code == 0, printed
    assert 'batch 2, 64 64 px' in printed
    step = Step(cfg)
    views = [torch.randn(2, 3, 64, 64) for _ in range(2)]
    step.model.eval()  # statistics of BatchNorm stay as they are
    step.model.teacher_is_updated = True
    student, teacher = step.passes(dict(inputs=views, data_samples=None))
    assert teacher == []
    ((network, image),) = student
    assert image is views[0]
    assert torch.equal(network(image), step.model.backbone(views[0])[-1])


def test_mmpretrains_own_method():
    """MAE, with one view, without a teacher, whose encoder returns more than tokens."""
    cfg = get_config('mmpretrain/mae_vit-base-p16_1xb64-coslr-300e_folder-224px')
    override(cfg, dict(size=64))
    shrink(cfg, 'mae')
    step = Step(cfg)
    image = torch.randn(2, 3, 64, 64)
    student, teacher = step.passes(dict(inputs=image, data_samples=None))
    ((network, given),) = student
    assert given is image
    assert teacher == []
    assert step.update_teacher is None
    assert network(given).shape == (2, 1 + 4, 32)  # the class token and a quarter of the patches
    step.bare(student, teacher, amp=False)
    batch = dict(inputs=(image * 50 + 100).byte(), data_samples=[])
    step.gradients(batch, amp=False)
    assert step.model.backbone.cls_token.grad is not None


def test_images_of_several_dates_are_generated(make_config, run_tool, tmp_path):
    cfg = make_config(model=dino_config('vit', bands=5, num_global=3))
    cfg.train_dataloader.dataset = dict(
        type='mmrs_ssl.SceneDataset',
        data_root='nowhere',
        files='{scene}/{date}',
        window=80,
        dates=3,
        min_dates=2,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=5),
            dict(type='mmrs_ssl.TemporalCrops', global_size=64, local_sizes=(40,), colors=False),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
    cfg.dump(tmp_path / 'temporal.py')
    code, printed = run_tool('benchmark.py', tmp_path / 'temporal.py', '--batch-size', 2, '--steps', 1)
    assert code == 0, printed
    assert 'batch 2, 64 64 64 40 px' in printed


def test_operators_of_mssdf_do_not_depend_on_the_batch_and_memory_grows_linearly(make_config, run_tool):
    cfg = make_config(model=mssdf_config())
    code, printed = run_tool('benchmark.py', cfg.filename, '--operators', '--batch-size', 16)
    assert code == 0, printed
    rows = re.findall(r'^ +(\d+) +(\d+) +([\d.]+) GB', printed, re.MULTILINE)
    sizes, calls, memory = (np.array(column, float) for column in zip(*rows, strict=True))
    assert sizes.tolist() == [4, 8, 16]
    assert calls.min() == calls.max() > 500
    assert (memory[2] - memory[1]) / (memory[1] - memory[0]) == pytest.approx(2, rel=0.25)


def test_scenes_of_other_modalities_are_not_generated(make_config, run_tool):
    """The error comes before the model is built."""
    cfg = make_config(
        "train_dataloader.update(dataset=dict(files=dict(rgb='{scene}_rgb', ms='{scene}_ms')))", model=mssdf_config()
    )
    code, printed = run_tool('benchmark.py', cfg.filename)
    assert code == 1
    assert 'scenes are generated for rgb and dsm, not for' in printed


def test_what_a_training_waits_for_is_what_the_profiler_counts(make_config, run_tool, image_folder):
    """Nothing from one line of the log to the next; there, values and all losses at once."""
    cfg = make_config(
        'default_hooks = dict(logger=dict(interval=2))\n'
        'custom_hooks = [hook for hook in _base_.custom_hooks if "Picture" not in hook["type"]]\n',
        model=cmid_config('vit'),
    )
    options = ['--syncs', '--steps', 2, '--batch-size', 2, '--images', image_folder]
    code, printed = run_tool('benchmark.py', cfg.filename, *options)
    assert code == 0, printed
    rows = {name: list(map(int, counts.split())) for counts, name in re.findall(r'^((?: +\d+)+)  (.+)$', printed, re.M)}
    values, fetches, inside = (
        np.array([counts for name, counts in rows.items() if name.startswith(kind)]).reshape(-1, 2).sum(axis=0)
        for kind in ('value: ', 'fetch: ', 'inside ')
    )
    assert rows['iteration'] == [1, 2]
    assert (values + inside).tolist() == rows['aten::_local_scalar_dense'] == rows['aten::item']
    assert values[0] == fetches[0] == 0 < fetches[1]
    assert sum('DeferredLogHook' in name for name in rows) == 1
