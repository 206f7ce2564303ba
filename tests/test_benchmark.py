"""tools/benchmark.py on small models: what it prints adds up."""

import re

import pytest

from tests.conftest import cmid_config, dino_config

AMP = "optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=1.0)\n"


@pytest.mark.parametrize(('model', 'sides'), [(cmid_config(), '64 64'), (dino_config('vit'), '64 64 44 40')])
def test_parts_of_a_step_add_up(make_config, run_tool, image_folder, model, sides):
    """Of a config for mixed precision, whose step is timed in float32 first."""
    cfg = make_config(AMP, model=model)
    options = ['--batch-size', 2, '--steps', 2, '--images', image_folder]
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
            dict(type='mmrs_ssl.TemporalCrops', global_size=64, local_sizes=(40,), colours=False),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )
    cfg.dump(tmp_path / 'temporal.py')
    code, printed = run_tool('benchmark.py', tmp_path / 'temporal.py', '--batch-size', 2, '--steps', 1)
    assert code == 0, printed
    assert 'batch 2, 64 64 64 40 px' in printed
