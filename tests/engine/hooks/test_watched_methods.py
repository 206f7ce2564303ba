"""A method that says nothing of itself is watched at its backbone, by monitor and pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmrs_ssl.evaluation.collapse import effective_rank, normalized_std
from mmrs_ssl.visualization.panels import MARGIN, TILE, TITLE
from tests.conftest import train
from tests.engine.test_hooks import scalars
from tests.fourth import Fourth, fourth_run


def test_monitor_and_pictures_of_the_backbones_passes(make_config):
    """Its student's one pass a step; the teacher is another network."""
    seen, given = [], []

    def look(module, args, out):
        given.append(args[0])
        seen.append(out[-1].mean(dim=(2, 3)).detach())

    def before(runner, batch):
        if runner.iter == 0:
            assert len(runner.model.backbone._forward_hooks) == 2  # both hooks look at the first step
            runner.model.backbone.register_forward_hook(look)

    def after(runner):
        if runner.iter == 1:
            assert len(runner.model.backbone._forward_hooks) == 2  # the monitor, and this test
            runner.model.backbone(given[0])  # no part of a training step
            del seen[-1], given[-1]

    runner = train(fourth_run(make_config), before_train_iter=before, after_train_iter=after)
    assert len(seen) == 8
    assert len(runner.model.backbone._forward_hooks) == 1
    lines = scalars(runner)
    assert not {'teacher_std', 'teacher_information'} & set(lines[-1])
    for line, count in ((lines[0], 1), (lines[-1], 8)):
        assert line['student_std'] == pytest.approx(normalized_std(torch.cat(seen[:count])), rel=1e-5)
        assert line['student_rank'] == pytest.approx(effective_rank(torch.cat(seen[:count])), rel=1e-5)
    names = ['iter_0000001_sample_0.png', 'iter_0000006_sample_0.png']
    assert sorted(path.name for path in Path(f'{runner.log_dir}/pictures').iterdir()) == names
    for name, step in zip(names, (0, 5), strict=True):
        panel = cv2.imread(f'{runner.log_dir}/pictures/{name}')[..., ::-1]
        assert panel.shape == (TILE + TITLE + MARGIN, TILE + 2 * MARGIN, 3)
        pixels = given[step][0].numpy().transpose(1, 2, 0) * 50 + 100
        low, high = np.percentile(pixels, [1, 99])
        shown = panel[TITLE : TITLE + TILE, MARGIN : MARGIN + TILE]
        expected = cv2.resize(((pixels - low) / (high - low)).clip(0, 1) * 255, (TILE, TILE), interpolation=0)
        assert np.abs(shown - expected).max() < 2


def test_what_cannot_be_watched_is_refused(make_config, monkeypatch):
    def loss(model, inputs, data_samples):
        return dict(loss=model.backbone.conv1.weight.square().mean())

    monkeypatch.setattr(Fourth, 'loss', loss)
    with pytest.raises(RuntimeError, match=r'CollapseMonitorHook: the backbone \(ResNet\) was not called in this step'):
        train(fourth_run(make_config))
    cfg = fourth_run(make_config)
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'Collapse' not in hook['type']]
    with pytest.raises(RuntimeError, match=r'PictureHook: the backbone \(ResNet\) was not called in this step'):
        train(cfg)
