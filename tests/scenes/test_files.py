"""Which file is what, by rules and by lists."""

import json
import re

import pytest

from mmrs_ssl.rasters.access import access_to
from mmrs_ssl.rasters.find import find_rasters
from mmrs_ssl.scenes.files import find_scene_files, read_list
from mmrs_ssl.synthetic.layouts import write_layout


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def parts(files, root):
    return [(file.path.removeprefix(f'{root}/'), *file[1:]) for file in files]


def test_folder_glob_and_single_file(tmp_path):
    touch(tmp_path, 'a.tif', 'b/c.TIFF', 'b/d.jp2', 'b/e.vrt', 'b/f.png', 'notes.txt', 'b/a.tif.aux.xml')
    names = [path.relative_to(tmp_path).as_posix() for path in find_rasters(tmp_path)]
    assert names == ['a.tif', 'b/c.TIFF', 'b/d.jp2', 'b/e.vrt', 'b/f.png']
    assert find_rasters(tmp_path / '*' / '*.jp2') == [tmp_path / 'b' / 'd.jp2']
    assert len(find_rasters(tmp_path / '[b]')) == 4  # a pattern of folders takes what is in them
    assert find_rasters(tmp_path / 'a.tif') == [tmp_path / 'a.tif']


@pytest.mark.parametrize('name', ['missing', 'empty', '*.nothing'])
def test_nothing_found(tmp_path, name):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'data_root=.*--cfg-options data_root='):
        find_rasters(tmp_path / name)


def test_modalities_by_suffix(tmp_path):
    write_layout('hr_pairs', tmp_path, scenes=2, size=32)
    files = find_scene_files(tmp_path, dict(rgb='{scene}_dom', dsm='{scene}_dsm'))
    assert parts(files, tmp_path) == [
        ('patch/000000_dom.tif', 'patch/000000', 'rgb', '', ''),
        ('patch/000000_dsm.tif', 'patch/000000', 'dsm', '', ''),
        ('patch/000001_dom.tif', 'patch/000001', 'rgb', '', ''),
        ('patch/000001_dsm.tif', 'patch/000001', 'dsm', '', ''),
    ]


def test_a_file_that_two_rules_fit_goes_to_the_more_specific(tmp_path):
    touch(tmp_path, 'x.tif', 'x_dsm.tif', 'top/area_1.tif', 'dsm/matching_area_1.tif')
    files = find_scene_files(tmp_path, dict(image='{scene}', dsm='{scene}_dsm'))
    assert {(file.scene, file.modality) for file in files if 'x' in file.scene} == {('x', 'image'), ('x', 'dsm')}
    files = find_scene_files(tmp_path, dict(image='top/area_{scene}.tif', dsm='dsm/matching_area_{scene}.tif'))
    assert {(file.scene, file.modality) for file in files} == {('1', 'image'), ('1', 'dsm')}


def test_dates_and_bands(tmp_path):
    write_layout('seco', tmp_path / 'seco', scenes=1, size=24)
    files = find_scene_files(tmp_path / 'seco', '{scene}/{date}/{band}')
    assert {file.scene for file in files} == {'000000'}
    assert len({file.date for file in files}) == 5
    assert {'B2', 'B3', 'B4', 'B8A'} <= {file.band for file in files}
    write_layout('time_series', tmp_path / 'series', scenes=2, size=32)
    files = find_scene_files(tmp_path / 'series', '{scene}/{date}')
    assert len(files) == 8
    assert {file.scene for file in files} == {'place000', 'place001'}


def test_regular_expression(tmp_path):
    touch(tmp_path, 'm_47_se_20090818.tif', 'm_47_se_20120731.tif')
    files = find_scene_files(tmp_path, r'm_(?P<scene>.+)_(?P<date>\d{8})\.tif')
    assert [(file.scene, file.date) for file in files] == [('47_se', '20090818'), ('47_se', '20120731')]


def test_csv_with_a_column_per_modality(tmp_path):
    touch(tmp_path, 'a/rgb.tif', 'a/dsm.tif')
    (tmp_path / 'list.csv').write_text('scene,rgb,dsm\nA,a/rgb.tif,a/dsm.tif\nB,b/rgb.tif,\n')
    files = read_list(tmp_path / 'list.csv')
    assert parts(files, tmp_path) == [
        ('a/rgb.tif', 'A', 'rgb', '', ''),
        ('a/dsm.tif', 'A', 'dsm', '', ''),
        ('b/rgb.tif', 'B', 'rgb', '', ''),
    ]
    only = find_scene_files(tmp_path / 'list.csv', dict(rgb=''))
    assert [file.modality for file in only] == ['rgb', 'rgb']


def test_csv_of_paths_and_dates(tmp_path):
    lines = ('path,date', '/data/x.tif,2020', 'file:///data/x.tif,2021', 'https://host/y.tif,2021')
    (tmp_path / 'list.csv').write_text('\n'.join(lines))
    found = read_list(tmp_path / 'list.csv', access_to([], ['/data'], remote=True))
    assert [(file.path, file.scene, file.date) for file in found] == [
        ('/data/x.tif', 'x', '2020'),
        ('/data/x.tif', 'x', '2021'),
        ('https://host/y.tif', 'y', '2021'),
    ]


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('/etc/x.tif', r"lies outside of .*; move it there, or name its folder: roots=\['/etc'\]"),
        ('../x.tif', 'lies outside of'),
        ('a/../../x.tif', 'lies outside of'),
        ('file:///etc/x.tif', 'lies outside of'),
        ('/vsizip//etc/x.zip/x.tif', 'lies outside of'),
        ('https://host/x.tif', 'lies on the network, which is read with allow_remote=True alone'),
        ('s3://bucket/x.tif', 'lies on the network'),
        ('/vsis3/bucket/x.tif', 'lies on the network'),
        ('/vsizip//vsicurl/https://host/x.zip/x.tif', 'lies on the network'),
        ('/vsimem/x.tif', 'is no address that is read'),
    ],
)
def test_lists_do_not_lead_out_of_their_folder(tmp_path, name, said):
    (tmp_path / 'list.csv').write_text(f'path\na.tif\nb/../c.tif\n{name}\n')
    with pytest.raises(ValueError, match=f'list.csv: row 3 names {name}, which {said}'):
        find_scene_files(tmp_path / 'list.csv', '{scene}')
    (tmp_path / 'items.json').write_text(json.dumps(dict(features=[dict(id='a', assets=dict(x=dict(href=name)))])))
    with pytest.raises(ValueError, match=f'items.json: row 1 names {name}, which {said}'):
        find_scene_files(tmp_path / 'items.json', '{scene}')


def test_stac_like_json(tmp_path):
    feature = dict(id='item1', properties=dict(datetime='2020-01-01'), assets=dict(visual=dict(href='i1.tif')))
    dated = dict(id='item2', properties=dict(datetime='2020-02-01', place='P'), assets=dict(visual=dict(href='i2.tif')))
    (tmp_path / 'items.json').write_text(json.dumps(dict(features=[feature, dated])))
    assert parts(read_list(tmp_path / 'items.json'), tmp_path) == [
        ('i1.tif', 'item1', 'visual', '', ''),
        ('i2.tif', 'P', 'visual', '2020-02-01', ''),
    ]


def test_lists_as_spreadsheets_and_people_write_them(tmp_path):
    (tmp_path / 'bom.csv').write_text('scene,rgb\nA,a.tif\n', encoding='utf-8-sig')
    assert parts(read_list(tmp_path / 'bom.csv'), tmp_path) == [('a.tif', 'A', 'rgb', '', '')]
    (tmp_path / 'plain.json').write_text('["a.tif", "/vsizip//data/b.zip/b.tif"]')
    assert [file.path for file in read_list(tmp_path / 'plain.json', access_to([], ['/data']))] == [
        str(tmp_path / 'a.tif'),
        '/vsizip//data/b.zip/b.tif',
    ]


def test_folders_behind_links(tmp_path):
    touch(tmp_path, 'disk/x/a.tif')
    (tmp_path / 'root').mkdir()
    (tmp_path / 'root' / 'linked').symlink_to(tmp_path / 'disk')
    (tmp_path / 'disk' / 'x' / 'loop').symlink_to(tmp_path / 'disk')
    assert find_rasters(tmp_path / 'root') == [tmp_path / 'root' / 'linked' / 'x' / 'a.tif']


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('a.csv', 'scene,date\nA,2020\n', r'row 1 names no file'),
        ('a.csv', 'path\n', 'lists no file'),
        ('a.json', '{"type": "x"}', 'expected a JSON list'),
        ('a.json', '{', 'expected a JSON list'),
    ],
)
def test_lists_that_are_not_understood(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_list(tmp_path / name)


@pytest.mark.parametrize(
    ('rule', 'name', 'scene', 'date'),
    [
        ('{scene}_{date}', 'm_4709963_se_14_1_20090818', 'm_4709963_se_14_1', '20090818'),
        ('{scene}_{date}', 'town_3_2020_01_31', 'town_3', '2020_01_31'),
        ('{scene}_{date}', 'town_3_2020-01', 'town_3', '2020-01'),
        ('{scene}_{date}', 'town_1999_2001', 'town_1999', '2001'),
        ('{scene}_{date}', 'town_a_before', 'town_a', 'before'),
        ('{date}_{scene}', '20200131T101031_town_3', 'town_3', '20200131T101031'),
        ('{scene}/{date}', 'a/2020-01-01_late', 'a', '2020-01-01_late'),
    ],
)
def test_dates_in_flat_names(tmp_path, rule, name, scene, date):
    touch(tmp_path, f'{name}.tif')
    assert [(file.scene, file.date) for file in find_scene_files(tmp_path, rule)] == [(scene, date)]


@pytest.mark.parametrize(
    ('names', 'rule', 'said'),
    [
        (
            ('a_b_2019.tif', 'a_b_2020.tif', 'c_2019.tif', 'c_2020.tif'),
            '{scene}/{date}',
            r"found a_b_2019\.tif, a_b_2020\.tif, c_2019\.tif and 1 more; files='\{scene\}_\{date\}' would fit them",
        ),
        (('2019/a.tif', '2020/a.tif'), '{scene}_{date}', r"found .*; files='\{date\}/\{scene\}' would fit them"),
        (
            ('a_2019_B2.tif', 'a_2019_B3.tif', 'b_2020_B2.tif', 'b_2020_B3.tif'),
            '{scene}/{date}/{band}',
            r"files='\{scene\}_\{date\}_\{band\}' would fit them",
        ),
        (('a/B2.tif', 'a/B3.tif'), '{scene}_{band}', r"files='\{scene\}/\{band\}' would fit them"),
        (('a.tif', 'b.tif'), '{scene}/{date}', r'found a\.tif, b\.tif; a rule is a path like these with \{scene\}'),
    ],
)
def test_a_rule_that_fits_no_file_is_answered_with_paths_and_a_rule_that_does(tmp_path, names, rule, said):
    touch(tmp_path, *names)
    with pytest.raises(ValueError, match=rf'no file of data_root=.* fits files={re.escape(repr(rule))}: .*{said}'):
        find_scene_files(tmp_path, rule)


def test_rules_of_several_modalities_that_fit_no_file(tmp_path):
    touch(tmp_path, 'p/a_rgb.tif', 'p/a_dsm.tif')
    with pytest.raises(ValueError, match=r"files=\{'x': '\{scene\}_dom'.*: found p/a_dsm\.tif, p/a_rgb\.tif; a rule"):
        find_scene_files(tmp_path, dict(x='{scene}_dom', y='{scene}_ndsm'))
    (tmp_path / 'list.csv').write_text('scene,rgb\nA,a.tif\n')
    with pytest.raises(ValueError, match=r"list\.csv: its columns are none of files=\{'x': ''\}; name those to take"):
        find_scene_files(tmp_path / 'list.csv', dict(x=''))


def test_rules_that_do_not_work(tmp_path):
    touch(tmp_path, 'a/x.tif', 'b/x.tif')
    with pytest.raises(ValueError, match=re.escape('no file of data_root=') + '.*fits'):
        find_scene_files(tmp_path, '{scene}_dsm')
    with pytest.raises(ValueError, match=r'a/x\.tif and .*b/x\.tif are both scene'):
        find_scene_files(tmp_path, r'.*/(?P<scene>x)\.tif')
    with pytest.raises(ValueError, match='is no valid rule'):
        find_scene_files(tmp_path, '(?P<scene>[)')
