"""Dates of a place that cover different parts of it, and dates that do not fit."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrs_ssl.datasets import SampleIndex
from mmrs_ssl.datasets.samplers import sample_rng
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.scenes.placing import SceneError
from tests.rasters.rasters import coordinates, noise, write_raster
from tests.scenes.places import places, truth, write_date

SIDE = 16


def draw(data, count=60):
    return [data[SampleIndex(i % len(data), i, 0)] for i in range(count)]


def inside(window, extent):
    return all(
        extent[axis] <= window[axis] and window[axis] + window[axis + 2] <= extent[axis] + extent[axis + 2]
        for axis in range(2)
    )


@pytest.mark.parametrize('sampling', ['grid', 'random'])
def test_a_small_date_takes_nothing_from_the_place(tmp_path, log, sampling):
    write_date(tmp_path / 'a', '2019', 0, 0, 96, 80)
    write_date(tmp_path / 'a', '2020', 40, 30, 30, 32)
    write_date(tmp_path / 'a', '2021', -8, -4, 90, 80)
    data = places(tmp_path, sampling=sampling)
    scene = data.scene(0)
    assert (scene.shape, scene.extent) == ((104, 84), (0, 0, 104, 84))
    assert scene.extents == {'2019': (8, 4, 96, 80), '2020': (48, 34, 30, 32), '2021': (0, 0, 90, 80)}
    seen = np.zeros(scene.shape, bool)
    for sample in draw(data, 200):
        top, left, height, width = sample['window']
        seen[top : top + height, left : left + width] = True
        assert inside(sample['window'], scene.extents[sample['dates'][0]])
        assert np.array_equal(sample['img'], truth(sample))
    assert {sample['dates'][0] for sample in draw(data, 200)} == {'2019', '2020', '2021'}
    assert seen.mean() > 0.9
    assert log == ['grid: 1 m per pixel']


def test_dates_are_drawn_from_those_that_cover_the_window(tmp_path):
    write_date(tmp_path / 'a', '2019', 0, 0, 40, 120)
    write_date(tmp_path / 'a', '2020', 0, 40, 40, 40)
    data = places(tmp_path, sampling='random', dates=2)
    drawn = [(sample['window'], set(sample['dates'])) for sample in draw(data, 120)]
    inner = [dates for window, dates in drawn if inside(window, (0, 40, 40, 40))]
    assert all(dates == {'2019'} for window, dates in drawn if not inside(window, (0, 40, 40, 40)))
    assert {len(dates) for dates in inner} == {1, 2}
    both = places(tmp_path, sampling='random', min_dates=2)
    assert all(inside(sample['window'], (0, 40, 40, 40)) for sample in draw(both))
    assert {sample['dates'][0] for sample in draw(both)} == {'2019', '2020'}
    again = places(tmp_path, sampling='random', dates=2)
    assert [(s['window'], s['dates']) for s in draw(again, 20)] == [(s['window'], s['dates']) for s in draw(data, 20)]


def test_places_that_all_dates_cover_are_drawn_from_as_ever(tmp_path):
    """The stream of random numbers is that of a place whose dates lie on each other."""
    for year in ('2019', '2020'):
        write_date(tmp_path / 'a', year, 0, 0, 50, 60)
    data = places(tmp_path, sampling='random')
    for epoch in range(4):
        sample, rng = data[SampleIndex(1, epoch, 3)], sample_rng(SampleIndex(1, epoch, 3))
        rng.random()
        own = np.random.default_rng(rng.integers(2**63))
        window = Window(int(own.integers(50 - SIDE + 1)), int(own.integers(60 - SIDE + 1)), SIDE, SIDE)
        assert (sample['window'], sample['dates']) == (window, [('2019', '2020')[own.integers(2)]])


def test_windows_of_the_grid_move_a_little_to_where_all_dates_cover_them(tmp_path):
    """Dates that lie a pixel apart: else the windows at the border would be of one date each."""
    for year, shift in (('2019', 0), ('2020', 1), ('2021', -1)):
        write_date(tmp_path / 'a', year, shift, -shift, 48, 48)
    data = places(tmp_path, window=40)
    assert data.scene(0).extent == (0, 0, 50, 50)
    assert [data[i]['window'][:2] for i in range(len(data))] == [(2, 2), (2, 8), (8, 2), (8, 8)]
    assert {date for epoch in range(20) for date in data[SampleIndex(0, epoch, 0)]['dates']} == {'2019', '2020', '2021'}


def test_windows_of_uneven_places_are_noted_under_their_numbers(tmp_path):
    for name in ('a', 'b'):
        write_date(tmp_path / name, '2019', 0, 0, 50, 70)
        write_date(tmp_path / name, '2020', 40, 60, 50, 50)
    plan = places(tmp_path).plan
    windows = [(scene, plan.grid_window(scene, place)) for scene in range(2) for place in range(plan.grid_size(scene))]
    assert len(windows) == len(plan) == len(set(windows))
    assert [plan.number_of(*window) for window in windows] == list(range(len(plan)))
    plan = places(tmp_path, sampling='random').plan  # as many as fit side by side in what is covered
    assert len(plan) == 2 * round((50 * 70 + 50 * 50 - 100) / SIDE**2)
    assert {plan.scene_of(plan.number_of(*window)) == window[0] for window in windows} == {True}


def odd_dates(root):
    """Three dates that fit, and one of every kind that does not."""
    for year, shift in (('2010', 0), ('2011', 3), ('2012', -5)):
        write_date(root / 'a', year, shift, 0, 60, 60)
    write_date(root / 'a', '2013', 100_000, 0, 60, 60)
    write_date(root / 'a', '2014', 0, 0, 60, 60, crs='EPSG:32634')
    write_raster(root / 'a' / '2015.tif', coordinates(60, 60), crs=None)
    (root / 'a' / '2016.tif').write_bytes(b'II*\0 and then nothing')
    write_raster(root / 'a' / '2017.tif', noise(5, 60, 60, 'float32'))
    write_date(root / 'a', '2018', 10, 10, 8, 40)


REASONS = dict(
    y2013=r'2013\.tif does not overlap with .*2010\.tif',
    y2014=r'2014\.tif does not overlap with .*2010\.tif',
    y2015=r'2015\.tif .*no CRS, not georeferenced\) cannot be put on the grid of .*2010\.tif',
    y2016=r'2016\.tif: not readable as a raster',
    y2017=r'2017\.tif has 5 bands, most files have 2',
    y2018=r'\(.*2018\.tif\) has 8 x 40 pixels, less than a window of 16 x 16; make the window smaller',
)


def test_dates_that_do_not_fit_are_left_out_counted_and_named(tmp_path, log, monkeypatch):
    odd_dates(tmp_path)
    monkeypatch.setattr('mmrs_ssl.scenes.catalog._SHOWN', 9)
    data = places(tmp_path, sampling='random')
    assert list(data.scene(0).extents) == ['2010', '2011', '2012']
    assert (data.scene(0).shape, {sample['dates'][0] for sample in draw(data)}) == ((68, 60), {'2010', '2011', '2012'})
    assert all(np.array_equal(sample['img'], truth(sample)) for sample in draw(data, 9))
    (warning,) = [text for text in log if 'left out' in text]
    assert warning.startswith('left out 6 of 9 dates: ')
    parts = warning.removeprefix('left out 6 of 9 dates: ').split("; scene 'a' ")
    for part, (year, reason) in zip(parts, REASONS.items(), strict=True):
        assert re.search(f"date '{year[1:]}' .*{reason}", part), part


@pytest.mark.parametrize('kept', [('2010', '2013'), ('2013', '2010')])
def test_of_two_dates_that_lie_apart_the_first_or_the_wanted_one_stays(tmp_path, kept):
    for year in ('2010', '2013'):
        write_date(tmp_path / 'a', year, 0, 0 if year == '2010' else 1000, 40, 40)
    data = places(tmp_path, extent=kept[0] if kept[0] == '2013' else 'union')
    assert list(data.scene(0).extents) == [kept[0]]
    with pytest.raises(SceneError, match=r"has 1 date\(s\).*expected 2.*left out: date '2013' .*does not overlap"):
        places(tmp_path, min_dates=2)


def test_a_place_that_is_lost_counts_as_bad(tmp_path, log):
    for name in ('a', 'b', 'c'):
        write_date(tmp_path / name, '2010', 0, 0, 40, 40)
    for year in ('2010', '2011', '2012'):
        write_date(tmp_path / 'b', year, 0, 0, 8, 40)
    with pytest.raises(SceneError, match=r"scene 'b' has 0 date\(s\).*left out: date '2010' .*8 x 40.*; and 1 more"):
        places(tmp_path)
    assert len(places(tmp_path, max_bad=0.4).plan.ends) == 2
    assert not [text for text in log if 'left out' in text]


def test_dates_that_touch_by_way_of_others_are_one_place(tmp_path):
    for year, left in (('2010', 0), ('2011', 80), ('2012', 40)):
        write_date(tmp_path / 'a', year, 0, left, 50, 50)
    data = places(tmp_path, stride=8)
    assert data.scene(0).extent == (0, 0, 50, 130)
    assert {dates for sample in draw(data, 200) for dates in sample['dates']} == {'2010', '2011', '2012'}


@pytest.mark.parametrize(
    ('extent', 'expected'),
    [
        ('union', (0, 0, 90, 110)),
        ('intersection', (30, 50, 20, 40)),
        ('2019', (0, 0, 50, 90)),
        ('2020', (30, 50, 60, 60)),
    ],
)
def test_extent(tmp_path, log, extent, expected):
    write_date(tmp_path / 'a', '2019', 0, 0, 50, 90)
    write_date(tmp_path / 'a', '2020', 30, 50, 60, 60)
    data = places(tmp_path, sampling='random', extent=extent)
    assert data.scene(0).extent == expected
    found = draw(data)
    assert all(inside(sample['window'], expected) for sample in found)
    assert all(np.array_equal(sample['img'], truth(sample)) for sample in found[:9])
    warnings = [text for text in log if 'less than half' in text]
    assert bool(warnings) == (extent == 'intersection')
    if warnings:
        assert re.search(r"in 1 of 1 scenes \(extent='intersection', min_dates=1\): scene 'a' 17.8%", warnings[0])


def test_modalities_that_overlap_little_are_told(tmp_path, log):
    write_date(tmp_path, 'a_x', 0, 0, 100, 100)
    write_date(tmp_path, 'a_y', 60, 0, 100, 100)
    load = dict(type='mmrs_ssl.LoadModalities', modalities={name: dict(bands=2) for name in 'xy'})
    data = places(tmp_path, load=load, files=dict(x='{scene}_x', y='{scene}_y'))
    assert data.scene(0).extent == (60, 0, 40, 100)
    assert "in 1 of 1 scenes (extent='union', min_dates=1): scene 'a' 40.0%" in log[0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(extent='2018'),
            r"extent='2018', expected 'union', 'intersection' or a date of the files \('2019', '2020'\)",
        ),
        (dict(grid='B1'), r"grid='B1' is no modality and none of band_files; there are none"),
    ],
)
def test_wrong_names(tmp_path, options, message):
    for year in ('2019', '2020'):
        write_date(tmp_path / 'a', year, 0, 0, 20, 20)
    with pytest.raises(ValueError, match=message):
        places(tmp_path, **options)


def test_no_window_that_enough_dates_cover(tmp_path):
    write_date(tmp_path / 'a', '2019', 0, 0, 40, 40)
    write_date(tmp_path / 'a', '2020', 30, 0, 40, 40)
    with pytest.raises(SceneError, match=r'has no window of 16 x 16 pixels that 2 dates cover'):
        places(tmp_path, min_dates=2)
    write_date(tmp_path / 'a', '2021', 80, 0, 40, 40)
    write_date(tmp_path / 'a', '2022', 60, 0, 40, 40)
    with pytest.raises(SceneError, match=r"has 4 dates without a pixel that all of them cover; set extent='union'"):
        places(tmp_path, extent='intersection')


def test_what_dates_share_is_less_than_a_window(tmp_path, log):
    write_date(tmp_path / 'a', '2019', 0, 0, 40, 40)
    write_date(tmp_path / 'a', '2020', 10, 0, 40, 40)
    write_date(tmp_path / 'a', '2021', 5, 0, 6, 40)  # too small by itself: it takes nothing from the others
    assert places(tmp_path, extent='intersection').scene(0).extent == (10, 0, 30, 40)
    assert 'left out 1 of 3 dates' in log[0]
    with pytest.raises(SceneError, match=r"has 30 x 40 pixels in extent='intersection', less than a window of 35 x 35"):
        places(tmp_path, extent='intersection', window=35)


def test_large_places_with_little_data_are_searched_date_by_date(tmp_path, monkeypatch):
    """Each date holds data in one window only, the second where the first does not reach."""
    monkeypatch.setattr('mmrs_ssl.scenes.window_plan._FEW', 20)
    for year, left, at in (('2019', 0, 16), ('2020', 50, 150)):
        pixels = np.zeros((1, 160, 180), np.uint8)
        pixels[:, 32:48, at - left : at - left + 16] = left + 1
        write_raster(tmp_path / 'a' / f'{year}.tif', pixels, shift=(left, 0), nodata=0)
    data = places(tmp_path, sampling='random', max_nodata=0.6)
    found = {(sample['dates'][0], int(sample['img'].max())) for sample in draw(data, 40)}
    assert found == {('2019', 1), ('2020', 51)}


def reference(rectangles, side, least):
    """Count, pixel by pixel, the corners of windows that enough rectangles hold: bool (80, 80)."""
    counts = np.zeros((80, 80), int)
    for top, left, height, width in rectangles:
        for row in range(top, top + height - side + 1):
            counts[row, left : left + max(width - side + 1, 0)] += 1
    return counts >= least


@st.composite
def places_of_dates(draw):
    """Rectangles of up to five dates, and how windows are laid on them."""
    least, corner, side = draw(st.integers(1, 2)), st.integers(0, 39), st.integers(4, 40)
    boxes = draw(st.lists(st.tuples(corner, corner, side, side), min_size=least, max_size=5))
    options = dict(window=draw(st.integers(6, 13)), stride=draw(st.integers(3, 13)), min_dates=least)
    return {str(2000 + number): box for number, box in enumerate(boxes)}, options


@settings(max_examples=25, deadline=None)
@given(places_of_dates(), st.integers(0, 2**32 - 1))
def test_any_dates_against_a_count_of_pixels(place, epoch):
    """The dates kept, where windows lie, which dates they take and what they hold are those counted pixel by pixel."""
    boxes, options = place
    side, least = options['window'], options['min_dates']
    kept = largest_cluster(boxes, side)
    corners = reference([boxes[date] for date in kept], side, least)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for date, box in boxes.items():
            write_date(root / 'a', date, *box)
        if len(kept) < least or not corners.any():
            with pytest.raises(SceneError, match=r'scene .a. has (\d date|no window)'):
                places(root, cache_dir=folder, **options)
            return
        for sampling in ('grid', 'random'):
            data = places(root, cache_dir=folder, sampling=sampling, **options)
            assert set(data.scene(0).extents) == set(kept)
            numbers = np.linspace(0, len(data) - 1, 12).round().astype(int).tolist()
            for sample in (data[SampleIndex(number, epoch, 0)] for number in numbers):
                metres = truth(sample)
                left, top = np.floor(metres[0, 0]).astype(int).tolist()
                assert corners[top, left]
                covering = [date for date in kept if inside(Window(top, left, side, side), boxes[date])]
                assert data.scene(0).dates_at(sample['window']) == covering
                assert sample['dates'][0] in covering
                assert np.array_equal(sample['img'], metres)


def largest_cluster(boxes, side):
    """Grow every cluster from its first date by what touches it; small dates count until the others are known."""
    left = dict(boxes)
    while True:
        clusters = []
        for date in left:
            cluster = {date}
            while grown := {b for a in cluster for b in left if b not in cluster and touch(left[a], left[b])}:
                cluster |= grown
            clusters.append(sorted(cluster))
        best = max(clusters, key=len, default=[])
        if len(best) == len(left):
            small = [date for date in left if min(left[date][2:]) < side]
            if not small:
                return best
            best = [date for date in left if date not in small]
        left = {date: left[date] for date in best}


def touch(a, b):
    canvas = np.zeros((2, 80, 80), bool)
    for layer, (top, left, height, width) in zip(canvas, (a, b), strict=True):
        layer[top : top + height, left : left + width] = True
    return bool(canvas.all(axis=0).any())
