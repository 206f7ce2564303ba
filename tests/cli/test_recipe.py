"""The settings of a pre-training that the data alone decide."""

from dataclasses import replace

import pytest

from mmrs_ssl.cli.recipe import SIZES, Bands, Facts, choose
from mmrs_ssl.shipped_configs import config_names

NAMES = config_names()
PICTURES = Facts('folder', 'images', 1400, 256, {(256, 256): 1400}, {'': Bands(3, color=True)}, {})
SCENES = Facts('geotiff', 'scenes', 40, 1024, {(1024, 1024): 40}, {'': Bands(4, 'uint16')}, {'': '{scene}'})
PAIRS = replace(
    SCENES,
    modalities=dict(rgb=Bands(3, color=True), dsm=Bands(1, 'float32', heights=True)),
    rules=dict(rgb='{scene}_rgb', dsm='{scene}_dsm'),
)


def why_of(recipe, setting):
    return next(each.why for each in recipe.choices if each.setting == setting)


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
    assert (large.images, large.epoch) == (640, 1024)
    small = choose(replace(SCENES, shapes={(1024, 1024): 3}), NAMES)
    assert (small['size'], small['window']) == (64, 80)
    assert small['windows_per_epoch'] == small.epoch == 1024
    archive = choose(replace(SCENES, shapes={(1024, 1024): 4000}), NAMES)
    assert archive['windows_per_epoch'] is None
    assert archive.epoch == archive.images == 64_000


def test_windows_are_those_that_fit():
    assert replace(SCENES, shapes={(3000, 4000): 1}).windows(144) == 20 * 27
    assert replace(SCENES, shapes={(300, 100): 2, (80, 500): 1}, dates=3).windows(100) == 3 * 2 * 3
    recipe = choose(replace(SCENES, shapes={(3000, 4000): 1}, side=3000), NAMES)
    assert recipe.images == 540
    why = why_of(recipe, 'windows_per_epoch')
    assert why == 'room for 540 windows side by side; at random places there are many more'


def test_dates_of_a_place_are_images_of_their_own():
    facts = replace(SCENES, shapes={(724, 934): 1}, dates=5)
    recipe = choose(facts, NAMES)
    assert (recipe['size'], recipe.images) == (64, 9 * 11 * 5)
    assert why_of(recipe, 'windows_per_epoch').startswith(
        'room for 99 windows side by side, of 5 dates each; at random'
    )
    assert 'one is drawn at each visit' in recipe.choices[0].why
    assert choose(facts, NAMES, 'dino-tp').config.startswith('dino_mc/dino-tp_resnet18')
    many = choose(replace(SCENES, dates=5), NAMES)
    assert many['windows_per_epoch'] == many.epoch == many.images == 640 * 5


@pytest.mark.parametrize(('images', 'batch'), [(500, 64), (499, 32), (63, 16), (24, 8), (8, 4)])
def test_batch_leaves_two_steps_an_epoch(images, batch):
    assert choose(replace(PICTURES, files=images), NAMES)['batch'] == batch


@pytest.mark.parametrize('images', [4, 5, 7])
def test_batch_norm_has_at_least_four_images(images):
    recipe = choose(replace(PICTURES, files=images), NAMES)
    assert recipe['batch'] == 4
    assert why_of(recipe, 'batch') == f'the fewest that BatchNorm makes statistics of, for {images} images'


@pytest.mark.parametrize(('images', 'length'), [(1400, 1344), (100_000, 65_536), (24, 24), (33, 32)])
def test_queue_holds_no_more_keys_than_images(images, length):
    recipe = choose(replace(PICTURES, files=images), NAMES)
    assert recipe['queue'] == length
    assert recipe['queue'] % recipe['batch'] == 0


def test_reasons_are_true_where_images_are_few():
    recipe = choose(replace(SCENES, shapes={(100, 100): 1}, side=100, dates=5), NAMES)
    assert (recipe['batch'], recipe['queue'], recipe.images) == (32, 64, 5)
    assert why_of(recipe, 'queue') == 'the keys of two steps, the least; 5 images have old keys of their own in it'
    assert why_of(recipe, 'windows_per_epoch').startswith('room for 1 window side by side')
    assert 'fewer than 1,000,000: the most epochs for 5 images' in why_of(recipe, 'epochs')


def test_smaller_pictures_are_told_to_be_enlarged():
    few = choose(replace(PICTURES, shapes={(256, 256): 1397, (100, 300): 3}), NAMES)
    assert few['size'] == 224
    assert why_of(few, 'size').endswith('that nearly all images fill, 256 pixels a side; 3 smaller ones are enlarged')
    tiny = choose(replace(PICTURES, side=40, shapes={(40, 50): 1400}), NAMES)
    assert (tiny['size'], why_of(tiny, 'size')) == (64, f'the smallest of {SIZES}; 1,400 smaller ones are enlarged')


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
    assert choose(replace(PAIRS, side=250, shapes={(250, 250): 1}), NAMES)['size'] == 96
    assert choose(replace(PAIRS, side=70, shapes={(70, 70): 1}), NAMES)['size'] == 64


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
