"""The demo's gallery; what the demos promise is measured in tests/tools/test_demo.py."""

import cv2
import numpy as np
import pytest
import torch

from mmrs_ssl.cli.demo import SHOWN, draw_nearest_scenes
from mmrs_ssl.synthetic.canvas import SCENE_CLASSES


@pytest.mark.parametrize('wrong', [0, 1], ids=['all right', 'one class taken for another'])
def test_gallery_shows_the_nearest_scenes_of_the_training(wrong, tmp_path):
    """Features that name the class, of scenes of one gray value for each class: rows of one gray, in green frames."""
    classes = len(SCENE_CLASSES)
    labels = np.arange(2 * SHOWN * classes) % classes
    images = np.repeat(20 * labels[:, None] + 20, 96 * 96 * 3, axis=1).reshape(-1, 96, 96, 3).astype(np.uint8)
    features = torch.eye(classes)[labels]
    asked = features.clone()
    if wrong:
        asked[labels == 1] = features[2]
    draw_nearest_scenes([features, asked], [(images, labels), (images, labels)], tmp_path / 'neighbors.png')
    gallery = cv2.imread(str(tmp_path / 'neighbors.png')).astype(int)
    height, width = gallery.shape[0] // classes, gallery.shape[1] // (SHOWN + 1)
    for row in range(classes):
        near = 2 if wrong and row == 1 else row
        centers = gallery[row * height + height // 2 + 8, width // 2 :: width, 0]
        assert centers.tolist() == [20 * row + 20] + SHOWN * [20 * near + 20]
        blue, green, red = gallery[row * height : (row + 1) * height, width:].reshape(-1, 3).T
        framed_green = ((green - red > 80) & (green - blue > 80)).any()
        framed_red = ((red - green > 80) & (red - blue > 80)).any()
        assert (framed_green, framed_red) == ((near == row), (near != row))
