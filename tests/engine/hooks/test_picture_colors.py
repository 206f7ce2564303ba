"""Pictures of a training show the bands that the data set's names call red, green and blue."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mmrs_ssl.engine.hooks.pictures import band_names_of
from mmrs_ssl.visualization.panels import MARGIN, TILE, TITLE
from tests.conftest import train
from tests.fourth import fourth_run


@pytest.mark.parametrize(
    ('names', 'bands', 'order'),
    [
        (('blue', 'green', 'red'), None, (2, 1, 0)),
        (('green', 'red', 'blue'), None, (1, 0, 2)),
        (('green', 'red', 'blue'), (2, 0, 1), (2, 0, 1)),
    ],
)
def test_a_training_shows_named_bands(make_config, names, bands, order):
    given = []

    def before(runner, batch):
        if runner.iter == 0:
            runner.train_dataloader.dataset.band_names = dict(image=names)
            runner.model.backbone.register_forward_hook(lambda module, args, out: given.append(args[0]))

    cfg = fourth_run(make_config)
    cfg.custom_hooks[-1]['bands'] = bands
    runner = train(cfg, before_train_iter=before)
    panel = cv2.imread(f'{runner.log_dir}/pictures/iter_0000001_sample_0.png')[..., ::-1]
    pixels = given[0][0].numpy()[list(order)].transpose(1, 2, 0) * 50 + 100
    low, high = np.percentile(pixels, [1, 99])
    expected = cv2.resize(((pixels - low) / (high - low)).clip(0, 1) * 255, (TILE, TILE), interpolation=0)
    shown = panel[TITLE : TITLE + TILE, MARGIN : MARGIN + TILE].astype(float)
    assert np.abs(shown - expected).max() < 2
    assert np.abs(shown[..., ::-1] - expected).max() > 20  # the test can tell the order


def test_names_are_found_in_data_sets_of_data_sets():
    known = SimpleNamespace(band_names=dict(s2=('B4', 'B3'), s1=('VV',)))
    other = SimpleNamespace(band_names=dict(rgb=('red',)))
    several = SimpleNamespace(datasets=[known, SimpleNamespace(), SimpleNamespace(dataset=other)])
    assert band_names_of(several) == [('B4', 'B3'), ('VV',), ('red',)]
    assert band_names_of(SimpleNamespace(dataset=known)) == [('B4', 'B3'), ('VV',)]
    assert band_names_of(SimpleNamespace()) == []
