"""What a method says about a step, drawn: what stands where."""

import numpy as np
import pytest
import torch

from mmrs_ssl.models.algorithms import cmid, dino_mc
from mmrs_ssl.models.tiles import Behind, HeatMap, Matches, PictureTile, View, pictures_of_passes
from mmrs_ssl.visualization.cells import heat_map
from mmrs_ssl.visualization.panels import MARGIN, TILE, TITLE, stretch_limits, titled, to_picture
from mmrs_ssl.visualization.pictures import draw
from tests.conftest import build_cmid, build_dino, build_mssdf, make_batch, make_crops, make_modalities

WIDTH, HEIGHT = TILE + 2 * MARGIN, TILE + TITLE + MARGIN
COLUMNS = 4  # of DINO-MC's crops
TWO = dict(rgb=3, dsm=1)
BLANK = np.full((TILE, TILE, 3), 255, np.uint8)


def tile(panel, row, column):
    top, left = row * HEIGHT + TITLE, column * WIDTH + MARGIN
    return panel[top : top + TILE, left : left + TILE]


def title(panel, row, column):
    return panel[row * HEIGHT : row * HEIGHT + TITLE - 4, column * WIDTH + MARGIN : column * WIDTH + MARGIN + TILE]


def says(text):
    """The pixels of a title."""
    return titled(BLANK, text)[: TITLE - 4, MARGIN : MARGIN + TILE]


# The three methods


@pytest.mark.parametrize('bands', [1, 3, 5])
def test_cmid(bands):
    model = build_cmid(bands=bands)
    generator = torch.Generator().manual_seed(bands)
    views = [torch.randn(2, bands, 64, 64, generator=generator) for _ in range(2)]
    model.kept = cmid.CMIDStep(
        views=views,
        masked=[torch.zeros_like(view) for view in views],
        reconstructions=[view + 0.01 for view in views],
        matches=(torch.tensor([[0, 3], [1, 2]]), torch.tensor([[0, 3], [2, 1]])),
        grid=(2, 2),
    )
    panel = draw(model.visualize()['sample_1'])
    assert panel.shape == (2 * HEIGHT, 3 * WIDTH + 2 * TILE + 4 * MARGIN + 2 * MARGIN, 3)
    shown = (0, 1, 2) if bands >= 3 else (0,)
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    for row, view in enumerate(views):
        limits = stretch_limits((view[1] * 50 + 100)[list(shown)])
        assert np.array_equal(tile(panel, row, 0), to_picture(view[1], mean, std, limits, shown))
        assert np.ptp(tile(panel, row, 1)) == 0  # the masked view, here all mean
        assert np.array_equal(tile(panel, row, 2), to_picture(view[1] + 0.01, mean, std, limits, shown))
        said = ', bands 0 1 2' if bands == 5 else ''  # nobody has chosen them
        assert np.array_equal(title(panel, row, 1), says(f'view {row + 1}, masked{said}'))
    left, first = tile(panel, 0, 3), tile(panel, 0, 0)
    changed = (left != first).any(2)
    assert 0 < changed.mean() < 0.05  # view 1 again, with two circles and lines on it
    assert changed[TILE // 4, 3 * TILE // 4]
    assert changed[3 * TILE // 4, TILE // 4]
    assert not changed[TILE // 4, TILE // 4]
    assert (panel[HEIGHT:, 3 * WIDTH :] == 255).all()


@pytest.mark.parametrize('sample', [0, 3])
def test_dino_mc(sample):
    model = build_dino(teacher_temperature=0.07)
    given = model.data_preprocessor(make_crops((56, 56, 28, 28, 14)), training=True)
    model.recording = True
    model.loss(**given)
    kept, scores = model.kept, model.teacher_scores[0][:, sample]  # at this first step the center is 0
    assert torch.equal(kept.choices[:, sample].sum(dim=-1).round(decimals=4), torch.ones(2))
    torch.testing.assert_close(kept.choices[:, sample], (scores / 0.07).softmax(-1), atol=1e-5, rtol=1e-4)
    panel = draw(model.visualize()[f'sample_{sample}'])
    assert panel.shape == (2 * HEIGHT, COLUMNS * WIDTH, 3)
    for number, view in enumerate(given['inputs']):
        pixels = view[sample].numpy() * 50 + 100
        low, high = np.percentile(pixels, [1, 99])
        expected = ((pixels - low) / (high - low) * 255).clip(0, 255)
        step = TILE // view.shape[-1]
        shown = tile(panel, *divmod(number, COLUMNS))[step // 2 :: step, step // 2 :: step].astype(float)
        np.testing.assert_allclose(shown, expected.transpose(1, 2, 0), atol=2)
    assert (tile(panel, 1, 1) == 255).all()  # there are five crops
    assert (title(panel, 1, 1) == 255).all()


def test_the_titles_are_of_the_samples_own_choice():
    model = build_dino()
    choices = torch.full((2, 3, 9), 0.01)
    for crop, sample, prototype in ((0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 4), (1, 1, 5), (1, 2, 6)):
        choices[crop, sample, prototype] = 0.9 + 0.01 * sample
    model.kept = dino_mc.DINOStep([torch.randn(3, 3, 8, 8)] * 3, choices)
    panel = draw(model.visualize()['sample_2'])
    for number, text in enumerate((': prototype 3 (0.92)', ': prototype 6 (0.92)', '')):
        assert np.array_equal(title(panel, 0, number), says(f'crop {number + 1}, 8 px{text}'))


def test_mssdf():
    model = build_mssdf(TWO).train()
    model.recording = True
    model.loss(**model.data_preprocessor(make_modalities(TWO), True))
    kept = model.kept
    pictures = model.visualize(2)
    assert list(pictures) == ['sample_0', 'sample_1']
    panel = draw(pictures['sample_1'])
    assert panel.shape == (2 * HEIGHT, 5 * WIDTH, 3)
    for row, name in enumerate(TWO):
        masked = kept.masks[name][1].view(4, 4)
        whole, visible = tile(panel, row, 0), tile(panel, row, 2)
        side = TILE // 4
        for i in range(4):
            for j in range(4):
                cell = np.s_[i * side : (i + 1) * side, j * side : (j + 1) * side]
                if masked[i, j]:
                    assert (visible[cell] == 255).all()
                else:
                    assert np.array_equal(visible[cell], whole[cell])
        assert np.array_equal(tile(panel, row, 1), heat_map(kept.information[name][1].view(4, 4).numpy()))
        assert not np.array_equal(tile(panel, row, 3), tile(panel, row, 4))  # teacher and student
    assert (np.ptp(tile(panel, 0, 0), axis=2) > 20).any()  # in colors
    assert not np.ptp(tile(panel, 1, 0), axis=2).any()  # gray


@pytest.mark.parametrize(
    ('build', 'data'),
    [
        (build_dino, make_crops((56, 56))),
        (build_cmid, make_batch()),
        (lambda: build_mssdf(TWO), make_modalities(TWO)),
    ],
)
def test_nothing_is_kept_unasked_or_for_longer(build, data):
    model = build()
    model.loss(**model.data_preprocessor(data, training=True))
    assert model.kept is None
    with pytest.raises(RuntimeError, match=r'kept nothing to show: set model\.recording = True'):
        model.visualize()
    model.recording = True
    model.loss(**model.data_preprocessor(data, training=True))
    assert len(model.visualize(3)) == 3
    assert model.kept is None
    assert model.recording is False


# Pictures of any method


def test_chosen_bands_of_the_views_that_have_them():
    mean, std = torch.zeros(4), torch.ones(4)
    four, one = torch.randn(4, 32, 32), torch.randn(1, 32, 32)
    picture = [[[PictureTile('four', View(four, mean, std)), PictureTile('one', View(one, mean[:1], std[:1]))]]]
    chosen, plain = draw(picture, (3, 1, 0)), draw(picture)
    limits = stretch_limits(four[[3, 1, 0]])
    assert np.array_equal(tile(chosen, 0, 0), to_picture(four, mean, std, limits, (3, 1, 0)))
    assert not np.array_equal(tile(chosen, 0, 0), tile(plain, 0, 0))
    assert np.array_equal(tile(chosen, 0, 1), tile(plain, 0, 1))
    with pytest.raises(ValueError, match=r'bands=\(4,\) to be shown, but the views have 4, counted from 0'):
        draw(picture, (4,))


def test_red_green_and_blue_of_views_by_their_number_of_bands():
    views = {count: torch.randn(count, 32, 32) for count in (13, 4, 3)}
    tiles = [
        PictureTile(f'{count}', View(view, torch.zeros(count), torch.ones(count))) for count, view in views.items()
    ]
    colors = {13: (3, 2, 1), 3: (2, 1, 0)}
    for bands, expected, said in (
        (None, ((3, 2, 1), (0, 1, 2), (2, 1, 0)), ('', ', bands 0 1 2', '')),
        ((8, 3, 2), ((8, 3, 2), (0, 1, 2), (2, 1, 0)), ('', ', bands 0 1 2', '')),  # what is asked for comes first
        ((2, 0, 1), ((2, 0, 1),) * 3, ('',) * 3),
    ):
        panel = draw([[tiles]], bands, colors)
        for column, (count, view) in enumerate(views.items()):
            limits = stretch_limits(view[list(expected[column])])
            shown = to_picture(view, torch.zeros(count), torch.ones(count), limits, expected[column])
            assert np.array_equal(tile(panel, 0, column), shown)
            assert np.array_equal(title(panel, 0, column), says(f'{count}{said[column]}'))


def test_bands_behind_masks_and_of_matched_views():
    four, mean, std = torch.randn(4, 32, 32), torch.zeros(4), torch.ones(4)
    view = View(four, mean, std)
    mask, pairs = torch.tensor([True, False, False, False]), (torch.tensor([0]), torch.tensor([0]))
    picture = [
        [
            [
                PictureTile('view', view),
                PictureTile('behind', Behind(view, mask)),
                PictureTile('heat', HeatMap(torch.arange(4.0))),
            ],
            [PictureTile('matches', Matches(view, view, pairs, (1, 1)))],
        ]
    ]
    panel = draw(picture, (3, 2, 1))
    assert panel.shape == (2 * HEIGHT, 3 * WIDTH, 3)  # the shorter row is filled up
    whole, half = tile(panel, 0, 0), TILE // 2
    assert (tile(panel, 0, 1)[:half, :half] == 255).all()
    assert np.array_equal(tile(panel, 0, 1)[half:], whole[half:])
    assert np.array_equal(tile(panel, 1, 0)[:50, :50], whole[:50, :50])
    assert np.array_equal(tile(panel, 0, 2)[half:, half:], heat_map(np.array([[0.0, 1.0], [2.0, 3.0]]))[half:, half:])


def test_images_that_a_network_was_given():
    preprocessor = build_dino().data_preprocessor  # mean 100, deviation 50, of three bands
    colors, two = torch.randn(3, 3, 16, 16), torch.randn(3, 2, 8, 8)
    pictures = pictures_of_passes([colors, two], preprocessor, 2)
    assert list(pictures) == ['sample_0', 'sample_1']
    panel = draw(pictures['sample_1'])
    pixels = colors[1] * 50 + 100
    expected = to_picture(pixels, torch.zeros(3), torch.ones(3), stretch_limits(pixels), (0, 1, 2))
    np.testing.assert_allclose(tile(panel, 0, 0).astype(float), expected.astype(float), atol=1)
    assert np.array_equal(title(panel, 0, 0), says('pass 1, 16 px'))
    assert np.array_equal(title(panel, 0, 1), says('pass 2, 8 px, band 0'))
    plain = to_picture(two[1], torch.zeros(2), torch.ones(2), stretch_limits(two[1][:1]), (0,))
    assert np.array_equal(tile(panel, 0, 1), plain)
