"""The generated scenes: reproducible, consistent between their layers, and not solvable by color."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmrs_ssl.synthetic.canvas import BUILDING, CAR, IMPERVIOUS, LAND_COVER, LOW_VEGETATION, SCENE_CLASSES, TREE
from mmrs_ssl.synthetic.scene import BANDS, SyntheticScene, cast_shadow, change_mask, make_scene, make_split


@pytest.fixture(scope='module')
def scenes() -> list[SyntheticScene]:
    return [make_scene(name, seed, 160, 0.5) for name in SCENE_CLASSES for seed in range(3)]


@pytest.mark.parametrize('name', SCENE_CLASSES)
def test_same_arguments_give_same_bytes(name: str) -> None:
    one, same, other = make_scene(name, 5, 64), make_scene(name, 5, 64), make_scene(name, 6, 64)
    for layer in ('reflectance', 'dsm', 'dtm', 'land_cover'):
        assert getattr(one, layer).tobytes() == getattr(same, layer).tobytes()
    assert [box[0] for box in one.boxes] == [box[0] for box in same.boxes]
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(one.boxes, same.boxes, strict=True))
    assert np.abs(one.rgb().astype(int) - other.rgb()).mean() > 5


@pytest.mark.parametrize('gsd', [0.3, 1.0, 3.0, 10.0])
@pytest.mark.parametrize('name', SCENE_CLASSES)
def test_layers_at_every_gsd(name: str, gsd: float) -> None:
    scene = make_scene(name, 3, 96, gsd)
    assert scene.reflectance.shape == (96, 96, len(BANDS))
    assert scene.reflectance.dtype == scene.dsm.dtype == scene.dtm.dtype == np.float32
    assert scene.land_cover.dtype == np.uint8
    assert scene.reflectance.min() >= 0
    assert scene.reflectance.max() <= 1
    assert scene.land_cover.max() < len(LAND_COVER)
    assert scene.reflectance.std((0, 1)).min() > 0.004  # no band is empty


def test_only_buildings_and_trees_stand_above_two_metres(scenes: list[SyntheticScene]) -> None:
    for scene in scenes:
        tall = scene.dsm - scene.dtm > 2
        np.testing.assert_array_equal(tall, np.isin(scene.land_cover, (BUILDING, TREE)))
        low = ~tall & (scene.land_cover != CAR)
        assert np.array_equal(scene.dsm[low], scene.dtm[low])


@pytest.mark.parametrize('azimuth', [0.0, 45.0, 90.0, 135.0, 200.0, 270.0, 310.0])
@pytest.mark.parametrize('elevation', [30.0, 50.0])
def test_shadow_of_a_box(azimuth: float, elevation: float) -> None:
    height, gsd = 8.0, 0.5
    dsm = np.full((201, 201), 40.0, np.float32)
    dsm[90:111, 90:111] += height
    dark = cast_shadow(dsm, gsd, azimuth, elevation) > 0.5
    # Up is north and x is east, so the sun stands at (sin, -cos) and the light runs the other way.
    away = -np.array([np.sin(np.radians(azimuth)), -np.cos(np.radians(azimuth))])
    steps = np.arange(0, 90, 0.25)
    x, y = np.rint(100 + steps[:, None] * away).astype(int).T
    outside = np.maximum(abs(x - 100), abs(y - 100)) > 10
    shaded = steps[dark[y, x] & outside]
    edge = steps[outside].min()
    assert shaded.max() - edge == pytest.approx(height / np.tan(np.radians(elevation)) / gsd, abs=1.5)
    assert shaded.min() - edge <= 1.5
    back = np.rint(100 - steps[:, None] * away).astype(int)
    assert not dark[back[:, 1], back[:, 0]].any()


def _ray_shadow(scene: SyntheticScene, x: int, y: int) -> bool:
    """Walk from one pixel towards the sun and look for something above the line of sight."""
    azimuth, rise = np.radians(scene.sun_azimuth), np.tan(np.radians(scene.sun_elevation))
    for step in np.arange(1.0, 120.0, 0.5):
        px, py = round(x + step * np.sin(azimuth)), round(y - step * np.cos(azimuth))
        if not (0 <= px < scene.dsm.shape[1] and 0 <= py < scene.dsm.shape[0]):
            return False
        if scene.dsm[py, px] > scene.dsm[y, x] + step * scene.gsd * rise:
            return True
    return False


@pytest.mark.parametrize('name', ['residential', 'industrial', 'meadow'])
def test_shadow_in_a_scene_matches_ray_marching_and_is_darker(name: str) -> None:
    scene = make_scene(name, 1, 128, 0.5)
    dark = cast_shadow(scene.dsm, scene.gsd, scene.sun_azimuth, scene.sun_elevation)
    flat = np.isin(scene.land_cover, (IMPERVIOUS, LOW_VEGETATION))
    y, x = np.nonzero(flat & ((dark > 0.99) | (dark < 0.01)))
    pick = np.random.default_rng(0).permutation(len(x))[:400]
    truth = np.array([_ray_shadow(scene, int(x[k]), int(y[k])) for k in pick])
    assert 0 < truth.sum() < len(truth)
    assert (truth == (dark[y[pick], x[pick]] > 0.5)).mean() > 0.95
    kind = scene.land_cover == (IMPERVIOUS if name == 'industrial' else LOW_VEGETATION)
    light = scene.reflectance[..., 3]
    assert light[kind & (dark > 0.9)].mean() < 0.75 * light[kind & (dark < 0.1)].mean()


@pytest.mark.parametrize(('name', 'gsd'), [('parking', 0.5), ('parking', 1.0), ('junction', 0.3), ('industrial', 0.5)])
def test_boxes_enclose_the_car_pixels(name: str, gsd: float) -> None:
    scene = make_scene(name, 2, 128, gsd)
    inside = np.zeros(scene.land_cover.shape, bool)
    covered = []
    for kind, box in scene.boxes:
        if kind in ('vehicle', 'truck'):
            sides = np.hypot(*(box - np.roll(box, 1, 0)).T) * gsd
            assert max(sides) == pytest.approx(4.5 if kind == 'vehicle' else 11.0, rel=0.09)
            assert min(sides) == pytest.approx(1.9 if kind == 'vehicle' else 2.6, rel=0.09)
            mask = np.zeros(scene.land_cover.shape, np.uint8)
            cv2.fillConvexPoly(mask, np.rint(box * 16).astype(np.int32), 1, shift=4)
            inside |= mask > 0
            if mask.sum() > 8:
                covered.append((scene.land_cover[mask > 0] == CAR).mean())
    car = scene.land_cover == CAR
    assert car.sum() > 20
    assert not (car & ~inside).any()
    assert np.mean(covered) > 0.5  # the outline's own pixels count as well, so a car fills less than all


def test_buildings_lie_in_their_boxes(scenes: list[SyntheticScene]) -> None:
    for scene in scenes:
        inside = np.zeros(scene.land_cover.shape, np.uint8)
        for kind, box in scene.boxes:
            if kind in ('building', 'tank'):
                cv2.fillConvexPoly(inside, np.rint(box * 16).astype(np.int32), 1, shift=4)
        assert not ((scene.land_cover == BUILDING) & (inside == 0)).any()


@pytest.mark.parametrize('name', SCENE_CLASSES)
def test_dates_show_one_place_in_other_light(name: str) -> None:
    first, second = (make_scene(name, 4, 128, 0.5, date) for date in (0, 1))
    np.testing.assert_array_equal(first.dtm, second.dtm)
    assert first.sun_azimuth != second.sun_azimuth
    assert np.abs(first.reflectance - second.reflectance).mean() > 0.01
    changed = change_mask(first, second)
    assert changed.mean() < 0.35
    assert not changed[first.land_cover == second.land_cover].any()
    cars = (first.land_cover == CAR) | (second.land_cover == CAR)
    assert not (changed & cars & ~np.isin(first.land_cover, (BUILDING, TREE)) & (second.land_cover == CAR)).any()
    assert not change_mask(first, make_scene(name, 4, 128, 0.5, 0)).any()


@pytest.mark.parametrize('name', ['residential', 'industrial'])
def test_buildings_change_between_dates(name: str) -> None:
    for seed in range(6):
        stands = [make_scene(name, seed, 160, 0.5, date) for date in (0, 1)]
        assert change_mask(*stands).any()
        assert ((stands[0].land_cover == BUILDING) ^ (stands[1].land_cover == BUILDING)).sum() > 50


def test_pictures_and_spectra() -> None:
    scene = make_scene('forest', 0, 64, 1.0)
    np.testing.assert_array_equal(scene.multispectral(3, np.uint8), scene.rgb())
    np.testing.assert_allclose(scene.multispectral(6) / 10000, scene.reflectance, atol=6e-5)
    np.testing.assert_allclose(scene.bands_at([665, 2190])[..., 0], scene.reflectance[..., 0], atol=1e-6)
    middle = (scene.reflectance[..., 0] + scene.reflectance[..., 1]) / 2
    np.testing.assert_allclose(scene.bands_at([(665 + 560) / 2])[..., 0], middle, atol=1e-6)
    assert scene.multispectral(13).shape == (64, 64, 13)
    with pytest.raises(ValueError, match='float32'):
        scene.multispectral(3, np.float32)
    with pytest.raises(ValueError, match='at least 1'):
        scene.multispectral(0)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match='volcano'):
        make_scene('volcano', 0)
    with pytest.raises(ValueError, match='size=4'):
        make_scene('forest', 0, size=4)


def test_color_does_not_give_the_class_away() -> None:
    """20 nearest neighbors of color histograms: better than chance (1/8), far from solved."""
    train, labels = make_split(50, 64, 1.0, seed=1)
    held_out, truth = make_split(20, 64, 1.0, seed=2)
    assert train.shape == (400, 64, 64, 3)
    assert np.bincount(truth).tolist() == [20] * 8

    def histogram(pictures: np.ndarray) -> np.ndarray:
        counts = [cv2.calcHist([p], [0, 1, 2], None, [6] * 3, [0, 256] * 3).ravel() for p in pictures]
        return np.sqrt(np.stack(counts) / pictures[0, ..., 0].size)

    nearest = np.argsort(-histogram(held_out) @ histogram(train).T, 1)[:, :20]
    votes = np.stack([np.bincount(labels[row], minlength=8) for row in nearest])
    accuracy = (votes.argmax(1) == truth).mean()
    assert 0.2 < accuracy < 0.65
