"""DINO-MC's panel: every crop in its place, the teacher's choices beside its own."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmrs_ssl.benchmarks.gpu_table import COLUMNS
from mmrs_ssl.visualization.crops import dino_panel
from mmrs_ssl.visualization.panels import MARGIN, TILE, TITLE, titled
from tests.conftest import build_cmid, build_dino, dino_config, make_batch, make_crops, train
from tests.fourth import fourth_run

WIDTH, HEIGHT = TILE + 2 * MARGIN, TILE + TITLE + MARGIN


def tile(panel, number):
    row, column = divmod(number, COLUMNS)
    top, left = row * HEIGHT + TITLE, column * WIDTH + MARGIN
    return panel[top : top + TILE, left : left + TILE], panel[top - TITLE : top - 4, left : left + TILE]


def recorded(sizes=(56, 56, 28, 28, 14)):
    model = build_dino(teacher_temperature=0.07)
    data = make_crops(sizes)
    model.recording = True
    given = model.data_preprocessor(data, training=True)
    model.loss(**given)
    return model, given['inputs'], model.recorded


@pytest.mark.parametrize('sample', [0, 3])
def test_crops_and_choices(sample):
    model, views, kept = recorded()
    assert torch.equal(kept['choices'][:, sample].sum(dim=-1).round(decimals=4), torch.ones(2))
    scores = model.teacher_scores[0][:, sample]  # at this first step the center is 0
    torch.testing.assert_close(kept['choices'][:, sample], (scores / 0.07).softmax(-1), atol=1e-5, rtol=1e-4)
    panel = dino_panel(kept, sample, model.data_preprocessor.mean, model.data_preprocessor.std)
    assert panel.shape == (2 * HEIGHT, COLUMNS * WIDTH, 3)
    for number, view in enumerate(views):
        pixels = view[sample].numpy() * 50 + 100
        low, high = np.percentile(pixels, [1, 99])
        expected = ((pixels - low) / (high - low) * 255).clip(0, 255)
        step = TILE // view.shape[-1]
        shown = tile(panel, number)[0][step // 2 :: step, step // 2 :: step].astype(float)
        np.testing.assert_allclose(shown, expected.transpose(1, 2, 0), atol=2)
    blank, title = tile(panel, 5)  # there are five crops
    assert (blank == 255).all()
    assert (title == 255).all()
    lengths = [np.flatnonzero((tile(panel, number)[1] < 128).any(axis=(0, 2))).max() for number in range(5)]
    assert min(lengths[:2]) > max(lengths[2:])  # only the teacher's say what it chose


def test_the_titles_are_of_the_samples_own_choice():
    views, mean, std = [torch.randn(3, 1, 8, 8)] * 3, torch.zeros(1), torch.ones(1)
    choices = torch.full((2, 3, 9), 0.01)
    for crop, sample, prototype in ((0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 4), (1, 1, 5), (1, 2, 6)):
        choices[crop, sample, prototype] = 0.9 + 0.01 * sample
    panel = dino_panel(dict(views=views, choices=choices), 2, mean, std)
    blank = np.full((TILE, TILE, 3), 255, np.uint8)
    for number, text in enumerate((': prototype 3 (0.92)', ': prototype 6 (0.92)', '')):
        expected = titled(blank, f'crop {number + 1}, 8 px{text}')
        assert np.array_equal(tile(panel, number)[1], expected[: TITLE - 4, MARGIN : MARGIN + TILE])


def test_pictures_of_a_run(make_config):
    cfg = make_config(model=dino_config())
    cfg.custom_hooks.append(dict(type='mmrs_ssl.PictureHook', interval=5, samples=1))
    runner = train(cfg)
    files = sorted(Path(f'{runner.log_dir}/pictures').iterdir())
    assert [file.name for file in files] == ['iter_0000001_sample_0.png', 'iter_0000006_sample_0.png']
    assert cv2.imread(str(files[0])).shape[1] == COLUMNS * WIDTH
    assert runner.model.recorded == {}


def test_nothing_is_kept_unasked():
    for model, data in ((build_dino(), make_crops((56, 56))), (build_cmid(), make_batch())):
        model.loss(**model.data_preprocessor(data, training=True))
        assert model.recorded == {}


def test_a_method_that_keeps_nothing_is_refused(make_config):
    cfg = fourth_run(make_config)
    cfg.custom_hooks.append(dict(type='mmrs_ssl.PictureHook'))
    with pytest.raises(ValueError, match=r'Fourth kept nothing to draw in model\.recorded'):
        train(cfg)
