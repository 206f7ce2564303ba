"""The settings of a pre-training that the data alone decide."""

from dataclasses import replace

import pytest

from mmrs_ssl.cli.recipe import SIZES, Bands, Facts, choose
from mmrs_ssl.shipped_configs import config_names

NAMES = config_names()
PICTURES = Facts('folder', 'images', 1400, 256, 1400 * 256**2, {'': Bands(3, color=True)}, {})
SCENES = Facts('geotiff', 'scenes', 40, 1000, 40 * 1000**2, {'': Bands(4, 'uint16')}, {'': '{scene}'})
PAIRS = replace(
    SCENES,
    modalities=dict(rgb=Bands(3, color=True), dsm=Bands(1, 'float32', heights=True)),
    rules=dict(rgb='{scene}_rgb', dsm='{scene}_dsm'),
)


@pytest.mark.parametrize(
    ('facts', 'config'),
    [
        (PICTURES, 'cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px'),
        (replace(PICTURES, files=5000), 'cmid/cmid_resnet50_1xb64-coslr-100e_folder-224px'),
        (SCENES, 'cmid/cmid_resnet18_1xb64-coslr-100e_geotiff-224px'),
        (PAIRS, 'mssdf/mssdf_vit-small_1xb64-coslr-100e_geotiff-224px'),
    ],
)
def test_method_and_backbone_follow_modalities_and_the_number_of_images(facts, config):
    assert choose(facts, NAMES).config == config


@pytest.mark.parametrize(('side', 'size'), [(63, 64), (64, 64), (95, 64), (127, 96), (223, 192), (4000, 224)])
def test_pictures_fill_the_views(side, size):
    assert choose(replace(PICTURES, side=side), NAMES)['size'] == size


def test_of_scenes_as_large_views_as_leave_enough_windows():
    large = choose(SCENES, NAMES)
    assert (large['size'], large['window']) == (224, 256)
    assert (large.images, large.epoch) == (610, 1024)  # 40 million pixels
    small = choose(replace(SCENES, area=3 * 1000**2), NAMES)
    assert (small['size'], small['window']) == (64, 80)
    assert small['windows_per_epoch'] == small.epoch == 1024
    archive = choose(replace(SCENES, area=4000 * 1000**2), NAMES)
    assert archive['windows_per_epoch'] is None
    assert archive.epoch == archive.images == 61_035


def test_dates_of_a_place_are_images_of_their_own():
    facts = replace(SCENES, area=724 * 934, dates=5)
    recipe = choose(facts, NAMES)
    assert (recipe['size'], recipe.images) == (64, 525)
    assert 'one is drawn at each visit' in recipe.choices[0].why
    assert choose(facts, NAMES, 'dino-tp').config.startswith('dino_mc/dino-tp_resnet18')


@pytest.mark.parametrize(('images', 'batch'), [(500, 64), (499, 32), (63, 16), (24, 8), (7, 2)])
def test_batch_leaves_two_steps_an_epoch(images, batch):
    assert choose(replace(PICTURES, files=images), NAMES)['batch'] == batch


@pytest.mark.parametrize(('images', 'length'), [(1400, 1344), (100_000, 65_536), (24, 24), (33, 32)])
def test_queue_holds_no_more_keys_than_images(images, length):
    recipe = choose(replace(PICTURES, files=images), NAMES)
    assert recipe['queue'] == length
    assert recipe['queue'] % recipe['batch'] == 0


def test_epochs_end_at_about_as_many_views():
    def epochs(images):
        return choose(replace(PICTURES, files=images), NAMES)['epochs']

    assert [epochs(images) for images in (400, 1000, 10_000, 10**6)] == [200, 400, 100, 50]


def test_what_dino_mc_alone_has():
    recipe = choose(replace(PICTURES, side=130), NAMES, 'dino-mc', 'vit-small')
    assert recipe['crops'] == [104, 92, 84, 72, 60, 48]
    assert recipe['prototypes'] == 1024
    assert recipe['queue'] is None


def test_cmid_on_small_views_and_few_images():
    small = choose(replace(PICTURES, side=100), NAMES)
    assert (small['size'], small['mask_block'], small['prototypes']) == (96, 16, 1024)
    assert choose(replace(PICTURES, side=128), NAMES)['mask_block'] is None
    assert choose(replace(PICTURES, files=9000), NAMES)['prototypes'] == 2048


def test_of_several_modalities_no_view_is_of_16_patches():
    assert choose(replace(PAIRS, side=250, area=250**2), NAMES)['size'] == 96
    assert choose(replace(PAIRS, side=70, area=70**2), NAMES)['size'] == 64


def test_what_is_given_rules_and_the_rest_follows():
    recipe = choose(SCENES, NAMES, given=dict(size=96, batch=16))
    assert (recipe['size'], recipe['window'], recipe['batch']) == (96, 112, 16)
    assert recipe['queue'] % 16 == 0


def test_one_modality_where_a_method_takes_one():
    recipe = choose(PAIRS, NAMES, 'cmid')
    assert recipe.facts.rules == {'': '{scene}_rgb'}
    assert list(recipe.facts.modalities) == ['']


def test_every_choice_says_why():
    for facts in (PICTURES, SCENES, PAIRS):
        recipe = choose(facts, NAMES)
        assert all(len(each.why) > 10 for each in recipe.choices)
        assert recipe['size'] in SIZES


@pytest.mark.parametrize(
    ('facts', 'asked', 'message'),
    [
        (PICTURES, dict(method='mssdf'), 'there is one; expected e.g. [*]_rgb'),
        (SCENES, dict(method='dino-tp'), 'expected names with dates'),
        (PICTURES, dict(method='simclr'), 'simclr: none for pictures; expected one of byol, cmid'),
        (PICTURES, dict(backbone='vgg'), 'vgg: with cmid there are resnet18, resnet50'),
    ],
)
def test_what_cannot_be_is_refused(facts, asked, message):
    with pytest.raises(ValueError, match=message):
        choose(facts, NAMES, **asked)
