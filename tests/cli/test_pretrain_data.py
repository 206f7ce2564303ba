"""mmrs-ssl pretrain: which files are images, which are labels, previews, odd ones, and which modalities count."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmrs_ssl.cli.pretrain_config import make_config
from mmrs_ssl.cli.pretrain_facts import look, usual_side
from mmrs_ssl.cli.pretrain_names import Naming, label_patterns, naming_of
from mmrs_ssl.cli.pretrain_pixels import sample_statistics, spread_out
from mmrs_ssl.cli.recipe import choose
from mmrs_ssl.datasets import ImageFolder
from mmrs_ssl.shipped_configs import config_names
from mmrs_ssl.synthetic.writing import write_geotiff, write_picture

RNG = np.random.default_rng(0)


def rgb(side=64, width=None):
    return RNG.integers(0, 256, (side, width or side, 3), dtype=np.uint8)


def heights(side=64, width=None):
    return RNG.normal(200, 9, (side, width or side)).astype(np.float32)


def places(root, count, modalities):
    """A folder for each place, with a file for each modality that it is among the first ``N`` places to have."""
    for place in range(count):
        for name, (make, first) in modalities.items():
            if place < first:
                write_geotiff(root / f'place_{place}' / f'{name}.tif', make(), 0.5)
    return root


def dataset_of(facts):
    cfg, _ = make_config(choose(facts, config_names()), 0, {})
    return DATASETS.build(cfg.train_dataloader.dataset)


def test_two_places_as_they_are_delivered_are_pairs_of_colors_and_heights(tmp_path):
    kinds = dict(rgb=(rgb, 2), irc=(rgb, 1), dsm=(heights, 2), dtm=(heights, 2), ndsm=(heights, 2))
    facts = look(str(places(tmp_path, 2, dict(**kinds, lidar_class=(lambda: rgb()[..., 0], 1)))))
    assert facts.rules == dict(rgb='{scene}/rgb', dsm='{scene}/dsm')
    assert (facts.files, facts.shapes, facts.left_out) == (4, {(64, 64): 2}, 0)
    assert choose(facts, config_names())['method'] == 'mssdf'
    assert 'left out: irc: 1 of 2 places have it' in facts.said
    assert 'left out: lidar_class: labels are none of the images' in facts.said


def test_modality_of_few_places_costs_no_place(tmp_path):
    places(tmp_path, 12, dict(rgb=(rgb, 12), irc=(rgb, 7), dsm=(heights, 11)))
    facts = look(str(tmp_path))
    assert list(facts.modalities) == ['rgb', 'dsm']
    assert (facts.shapes, facts.files) == ({(64, 64): 11}, 22)
    assert facts.left_out == pytest.approx(1 / 12)
    assert 'left out: irc: 7 of 12 places have it' in facts.said
    assert 'left out: 1 place without rgb or dsm' in facts.said
    assert len(dataset_of(facts).scene(10).layers) == 2


def test_one_modality_is_left_where_the_other_is_rare(tmp_path):
    facts = look(str(places(tmp_path, 4, dict(rgb=(rgb, 4), dsm=(heights, 2)))))
    assert (facts.rules, facts.files) == ({'': '{scene}/rgb'}, 4)
    assert facts.modalities[''].color
    assert 'left out: dsm: 2 of 4 places have it' in facts.said


@pytest.mark.parametrize('names', [('irc', 'dsm'), ('irc',), ('cir',)])
def test_infrared_is_not_called_color(tmp_path, names):
    facts = look(str(places(tmp_path, 2, {name: (heights if name == 'dsm' else rgb, 2) for name in names})))
    first = next(iter(facts.modalities.values()))
    assert (first.number, first.dtype, first.color) == (3, 'uint8', False)
    assert not any('colors' in line for line in facts.said)


def test_rasters_of_several_kinds_name_the_modalities_that_would_be_lost(tmp_path):
    places(tmp_path, 2, dict(rgb=(rgb, 2), dsm=(heights, 2)))
    write_geotiff(tmp_path / 'place_0' / 'notes.tif', heights(), 1.0)
    with pytest.raises(ValueError, match=r'several kinds .*names hold rgb and dsm: .*SCENE_rgb.tif with SCENE_dsm.tif'):
        look(str(tmp_path))


@pytest.mark.parametrize(
    'labels', ['label/{}.png', 'train_masks/{}.png', 'B/{}_mask.png', 'gt/{}.png', 'ann_dir/{}.png']
)
def test_labels_are_no_pictures(tmp_path, labels):
    for number in range(5):
        write_picture(tmp_path / 'A' / f'{number}.png', rgb())
        write_picture(tmp_path / labels.format(number), rgb()[..., 0])
    facts = look(str(tmp_path))
    assert (facts.files, facts.convert, facts.left_out) == (5, False, 0)
    assert any(line.startswith('5 are left out: labels') for line in facts.said)
    dataset = dataset_of(facts)
    assert isinstance(dataset, ImageFolder)
    assert sorted(dataset.get_data_info(i)['img_path'][-7:] for i in range(len(dataset))) == [
        f'A/{number}.png' for number in range(5)
    ]
    assert look(str(tmp_path), exclude=[]).files == 10


def test_what_sounds_like_a_label_and_is_none():
    assert label_patterns(['class_1/a.png', 'class_2/b.png', 'damasks/c.png', 'LC08_x.png']) == ()
    assert label_patterns(['labels/1.png', 'labels/2.png']) == ()  # nothing else is there
    names = ['im1/1.png', 'label1/1.png', 'label [2]/1.png', 'mask_7.png', 'a_gt_3.png', 'land_class.png']
    assert label_patterns(names) == ('**/label1', '**/label [[]2]', '**/mask_*', '**/*_gt_*', '**/*_class.*')


@pytest.mark.parametrize(
    ('names', 'rule'),
    [
        (['image/p_2020.tif', 'image/p_2021.tif', 'label/p_2020.tif', 'label/p_2021.tif'], 'image/{scene}_{date}'),
        (['1_sat.tif', '2_sat.tif', '1_mask.tif'], '{scene}_sat'),
        (['p/img.tif', 'q/img.tif', 'p/img_mask.tif'], '{scene}/img'),
        (['p/B2.tif', 'p/B3.tif', 'p/mask.tif', 'q/B2.tif', 'q/B3.tif', 'q/mask.tif'], '{scene}/{band}'),
    ],
)
def test_rules_leave_out_labels_among_rasters(names, rule):
    found = naming_of(names)
    assert (found.rules, found.labels) == ({'': rule}, ())
    assert found.left_out[0].startswith('labels, by their names')


def test_labels_among_rasters_that_no_rule_tells_are_refused(tmp_path):
    for part in ('train/images', 'train/labels', 'val/images'):
        write_geotiff(tmp_path / part / '1.tif', rgb(), 1.0)
    with pytest.raises(ValueError, match=r'1 of 3 rasters are labels .*train/labels/1.tif.*give a glob pattern'):
        look(str(tmp_path))
    assert look(f'{tmp_path}/**/images/*').files == 2


def test_pictures_beside_rasters_of_their_name_are_previews(tmp_path):
    for number in range(3):
        write_geotiff(tmp_path / f'{number}.tif', rgb(), 1.0)
        write_picture(tmp_path / f'{number}.png', rgb(20))
    write_picture(tmp_path / '0.tif.jpg', rgb(20))
    facts = look(str(tmp_path))
    assert (facts.kind, facts.files, facts.side) == ('geotiff', 3, 64)
    assert any(line.startswith('4 pictures are left out: previews') for line in facts.said)
    for number in range(9):
        write_picture(tmp_path / 'more' / f'{number}.png', rgb())
    facts = look(str(tmp_path))
    assert (facts.kind, facts.files, len(dataset_of(facts))) == ('folder', 12, 12)


def test_as_many_rasters_as_pictures_are_refused(tmp_path):
    for number in range(2):
        write_geotiff(tmp_path / f'{number}.tif', rgb(), 1.0)
        write_picture(tmp_path / f'{number}0.png', rgb())
    with pytest.raises(ValueError, match=r'as many rasters as pictures, 2 of each .*\*\*/\*\.tif'):
        look(str(tmp_path))


def test_a_few_tiny_pictures_set_no_size(tmp_path):
    for number in range(12):
        write_picture(tmp_path / f'{number}.png', rgb(256))
    for number in range(3):
        write_picture(tmp_path / f'tiny[{number}].png', rgb(3 + number, 4))
    facts = look(str(tmp_path))
    assert (facts.side, facts.files, facts.shapes) == (256, 12, {(256, 256): 12})
    assert choose(facts, config_names())['size'] == 224
    assert any(line.startswith('3 are left out: far smaller than the others') for line in facts.said)
    assert len(dataset_of(facts)) == 12
    assert usual_side([250] * 9 + [63]) == 63  # small, but not odd
    assert usual_side([4000] * 9 + [62]) == 4000


def test_scenes_smaller_than_a_window_are_allowed_for(tmp_path):
    for number in range(20):
        write_geotiff(tmp_path / f'{number}.tif', rgb(200), 1.0)
    for number in range(2):  # one is always allowed
        write_geotiff(tmp_path / f'odd_{number}.tif', rgb(9), 1.0)
    facts = look(str(tmp_path))
    dataset = dataset_of(facts)
    dataset.full_init()
    assert (facts.side, len(dataset.plan.ends)) == (200, 20)


def test_one_large_picture_is_cut_and_a_small_one_says_what_is_expected(tmp_path):
    write_picture(tmp_path / 'large' / '1.png', rgb(1100, 1300))
    facts = look(str(tmp_path / 'large'))
    assert (facts.kind, facts.shapes, facts.modalities[''].color) == ('geotiff', {(1100, 1300): 1}, True)
    write_picture(tmp_path / 'small' / '1.png', rgb())
    with pytest.raises(ValueError, match='1 picture can be used, expected at least 4, or one of more than 1024 pixels'):
        look(str(tmp_path / 'small'))


def test_large_pictures_are_cut_though_one_is_broken_and_others_are_converted(tmp_path):
    write_picture(tmp_path / '1.png', rgb(1100))
    write_picture(tmp_path / '2.png', rgb(1100)[..., 0])
    assert cv2.imwrite(str(tmp_path / '3.png'), np.dstack([rgb(1100), np.full((1100, 1100), 255, np.uint8)]))
    (tmp_path / '4.jpg').write_bytes(b'no picture')
    facts = look(str(tmp_path))
    assert (facts.kind, facts.convert, facts.files, facts.left_out) == ('geotiff', True, 3, 0.25)
    cfg, _ = make_config(choose(facts, config_names()), 0, dict(size=64, window=80))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert dataset.pipeline.transforms[0].convert == 'rgb'
    assert {tuple(dataset[i]['inputs'][0].shape) for i in (0, 500, 1000)} == {(3, 64, 64)}


def test_empty_and_missing_folders_advise_what_this_command_has(tmp_path):
    for data, why in ((tmp_path, 'holds no image'), (tmp_path / 'none', 'is no folder, file or glob pattern')):
        with pytest.raises(FileNotFoundError, match=why) as error:
            look(str(data))
        assert 'cfg-options' not in str(error.value)
        assert 'give a folder, a glob pattern in quotes or one large raster' in str(error.value)


def test_the_beginning_of_a_sample_lies_evenly_among_all_images(tmp_path):
    assert spread_out(8, 8) == [0, 4, 2, 6, 1, 5, 3, 7]
    assert spread_out(1, 1) == [0]
    assert sorted(spread_out(600, 500)) == np.linspace(0, 599, 500).round().astype(int).tolist()
    first = sorted(spread_out(600, 500)[:61])
    assert max(np.diff([0, *first, 599])) < 40


def test_statistics_of_large_pictures_are_of_all_of_a_sorted_folder(tmp_path, monkeypatch):
    for number in range(16):
        write_picture(tmp_path / f'{number:02d}.png', np.full((100, 100, 3), 0 if number < 8 else 200, np.uint8))
    monkeypatch.setattr('mmrs_ssl.cli.pretrain_pixels._MOST_PIXELS', 35_000)
    loading = [dict(type='mmrs_ssl.LoadRaster'), dict(type='mmrs_ssl.PackViews')]
    dataset = dict(type='mmrs_ssl.ImageFolder', data_root=str(tmp_path), pipeline=loading)
    found = sample_statistics(Config(dict(train_dataloader=dict(dataset=dataset))))['']
    assert (found.files, found.bands[0].mean) == (4, 100)


@pytest.mark.parametrize(
    'names',
    [
        [*(f'tile_{number:04d}.tif' for number in range(1000)), 'zoverview.tif'],
        [*(f'a/{number:04d}.tif' for number in range(1001)), 'z.tif'],
        [*(f'{number:04d}/B{band}.tif' for number in range(400) for band in (2, 3, 4)), 'zoverview.tif'],
    ],
)
def test_a_rule_fits_all_names_and_not_the_first_thousand_alone(names):
    assert naming_of(names) == Naming({'': '{scene}'})
