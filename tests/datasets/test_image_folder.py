"""A folder of images: what it finds, what it passes over, and that a sample depends on (seed, epoch, index) alone."""

import random
import re
from contextlib import nullcontext

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from PIL import Image
from torch.utils.data import DataLoader

from mmrs_ssl import get_config
from mmrs_ssl.band_names import rgb_bands
from mmrs_ssl.cli.config import override
from mmrs_ssl.datasets import EpochSampler, ImageFolder, SampleIndex
from mmrs_ssl.datasets.transforms import UnreadableImageError
from mmrs_ssl.registry import DATASETS
from mmrs_ssl.synthetic.writing import write_geotiff
from tests.rasters.rasters import picture, write_tiff

VIEW = [
    dict(type='mmrs_ssl.RandomCropResize', size=32),
    dict(type='mmrs_ssl.ColorJitter'),
    dict(type='mmrs_ssl.RandomNoise'),
]
PIPELINE = [
    dict(type='mmrs_ssl.LoadRaster'),
    dict(type='mmrs_ssl.Views', views=[VIEW, VIEW]),
    dict(type='mmrs_ssl.PackViews'),
]
LOAD = [dict(type='mmrs_ssl.LoadRaster')]


def fast_folder(*args, **options):
    """A folder whose list is not serialized, for which mmengine collects all garbage first."""
    return ImageFolder(*args, serialize_data=False, **options)


def name_of(sample):
    return sample['img_path'].rsplit('/', 1)[-1]


@pytest.fixture
def many(tmp_path):
    """Twenty PNGs, one of them cut off."""
    for i in range(20):
        cv2.imwrite(str(tmp_path / f'{i:02d}.png'), picture(seed=i))
    truncate(tmp_path / '07.png')
    return tmp_path


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.fixture
def warnings(monkeypatch):
    """The texts given to the logger (which itself leaves out repetitions)."""
    texts = []

    def record(text, *args, **kwargs):
        texts.append(text)
        print_log(text, *args, **kwargs)

    for module in ('rasters.unreadable', 'rasters.tolerance'):
        monkeypatch.setattr(f'mmrs_ssl.{module}.print_log', record)
    return texts


def test_finds_images_in_subfolders(tmp_path):
    for name in ('a.jpg', 'b/c.PNG', 'b/d/e.tif', 'f.tiff', 'g.JPEG'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if 'tif' in name:
            write_tiff(path, picture())
        else:
            cv2.imwrite(str(path), picture())
    (tmp_path / 'notes.txt').write_text('no image')
    dataset = ImageFolder(str(tmp_path), LOAD)
    found = {dataset[i]['img_path'] for i in range(len(dataset))}
    assert found == {str(tmp_path / name) for name in ('a.jpg', 'b/c.PNG', 'b/d/e.tif', 'f.tiff', 'g.JPEG')}


@pytest.mark.parametrize(
    ('bands', 'expected'),
    [(3, ('B02', 'B03', 'B04')), ([2, 0], ('B04', 'B02')), (['red', 'green', 'blue'], ('B04', 'B03', 'B02'))],
)
def test_what_files_call_their_bands(tmp_path, bands, expected):
    """As pictures, exports and downstream tasks ask."""
    write_geotiff(tmp_path / 'a.tif', picture(), 1.0, band_names=('B02', 'B03', 'B04'))
    folder = fast_folder(str(tmp_path), [dict(type='mmrs_ssl.LoadRaster', bands=bands)])
    assert folder.band_names == {'': expected}


def test_pictures_do_not_say_what_their_bands_are(image_folder):
    assert rgb_bands(fast_folder(str(image_folder), LOAD).band_names['']) in (None, (0, 1, 2))


def test_missing_and_empty_folder_say_how_to_set_it(tmp_path):
    for folder, problem in ((tmp_path / 'nowhere', 'is no folder'), (tmp_path, 'holds no image')):
        message = rf'data_root={re.escape(repr(str(folder)))} {problem}.*--cfg-options data_root='
        with pytest.raises(FileNotFoundError, match=message):
            ImageFolder(str(folder), PIPELINE)


def test_truncated_image_is_replaced_warned_about_once_and_counted(many, warnings):
    dataset = ImageFolder(str(many), LOAD, max_unreadable=0.05)
    first = dataset[SampleIndex(7, 3, 1)]
    assert name_of(first) != '07.png'
    assert name_of(dataset[SampleIndex(7, 3, 1)]) == name_of(first)
    assert name_of(ImageFolder(str(many), LOAD)[SampleIndex(7, 3, 1)]) == name_of(first)  # a fresh data set agrees
    others = {name_of(dataset[SampleIndex(7, epoch, 1)]) for epoch in range(12)}
    assert len(others) > 4  # not always the same stand-in
    assert '07.png' not in others
    assert dataset.skips.bad.nonzero().tolist() == [[7]]
    assert len(warnings) == 2  # one per data set
    assert all('07.png' in text and 'unreadable image 1 (at most 1 of 20)' in text for text in warnings)
    assert [name_of(dataset[i]) for i in (6, 8)] == ['06.png', '08.png']


def test_too_many_unreadable_images_stop_the_run(many):
    truncate(many / '11.png')
    dataset = ImageFolder(str(many), LOAD, max_unreadable=0.05)
    assert name_of(dataset[7]) != '07.png'
    with pytest.raises(
        UnreadableImageError, match=r'2 of 20 images .*more than the 1 .*0\.05.*11\.png.*max_unreadable'
    ):
        dataset[11]
    with pytest.raises(UnreadableImageError, match=r'1 of 20 .* more than the 0 .*07\.png'):
        ImageFolder(str(many), LOAD, max_unreadable=0)[7]
    assert len(ImageFolder(str(many), LOAD, max_unreadable=0.06)) == 20  # two are allowed here
    tolerant = ImageFolder(str(many), LOAD, max_unreadable=0.06)
    assert {name_of(tolerant[i]) for i in range(20)} == {f'{i:02d}.png' for i in range(20)} - {'07.png', '11.png'}


def test_one_unreadable_file_alone_ends_in_an_error(tmp_path):
    cv2.imwrite(str(tmp_path / 'only.png'), picture())
    truncate(tmp_path / 'only.png')
    with pytest.raises(UnreadableImageError, match=r'1 of 1 images are unreadable.*only\.png'):
        ImageFolder(str(tmp_path), LOAD, max_unreadable=1.0)[0]


def test_when_most_do_not_fit_the_configuration_is_at_fault(tmp_path):
    for i in range(3):
        write_tiff(tmp_path / f'five{i}.tif', picture(bands=5))
    write_tiff(tmp_path / 'three.tif', picture(bands=3))
    with pytest.raises(
        ValueError, match=r'3 of 4 images .*more than the 1 .*3 with 5 bands.*Set bands .* to 5'
    ) as caught:
        fast_folder(str(tmp_path), LOAD)
    assert not isinstance(caught.value, UnreadableImageError)
    assert "convert='rgb'" not in str(caught.value)  # nothing says which of five are red, green and blue
    with pytest.raises(ValueError, match='4 of 4 images'):
        fast_folder(str(tmp_path), [dict(type='mmrs_ssl.LoadRaster', bands=[0, 7])], max_unreadable=1.0)


def test_other_errors_are_not_swallowed(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), picture())
    with pytest.raises(KeyError):
        fast_folder(str(tmp_path), [*LOAD, PIPELINE[-1]])[0]  # without views, there is nothing to pack


MISFITS = {  # of a folder of RGB, by what PIL or OpenCV writes
    'gray.png': '1 band of uint8',
    'bits.png': '1 band of uint8',
    'gray.jpg': '1 band of uint8',
    'gray_alpha.png': '2 bands of uint8',
    'deep.png': '3 bands of uint16',
    'deep_gray.png': '1 band of uint16',
    'four.tif': '4 bands of uint8',
    'palette.tif': '',
    'palette.png': '',
    'rgba.png': '',
}


def write_misfit(path):
    levels = picture(bands=4)
    made = {
        'bits': lambda: Image.fromarray(levels[..., 0] > 127),
        'gray': lambda: Image.fromarray(levels[..., 0]),
        'gray_alpha': lambda: Image.fromarray(levels[..., :2].copy(), 'LA'),
        'rgba': lambda: Image.fromarray(levels),
        'palette': lambda: Image.fromarray(levels[..., :3]).quantize(16),
    }
    if path.stem == 'four':
        write_tiff(path, levels, photometric='minisblack')
    elif path.stem.startswith('deep'):
        cv2.imwrite(str(path), levels[..., : 1 if 'gray' in path.stem else 3].astype(np.uint16) * 256)
    else:
        made[path.stem]().save(path)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize('name', MISFITS)
def test_one_file_of_another_kind_is_left_out_and_its_folder_trains(tmp_path, name, warnings):
    for i in range(6):
        cv2.imwrite(str(tmp_path / f'{i}.png'), picture(seed=i))
    write_misfit(tmp_path / name)
    dataset = fast_folder(str(tmp_path), PIPELINE)
    if not MISFITS[name]:  # its colors are read, alpha aside: it fits
        assert len(dataset) == 7
        assert not warnings
    else:
        assert [name_of(dataset.get_data_info(i)) for i in range(len(dataset))] == [f'{i}.png' for i in range(6)]
        assert len(warnings) == 1
        assert f'skipped 1 of 7 images: 1 with {MISFITS[name]} (e.g. {tmp_path / name})' in warnings[0]
        assert '; most have 3 bands of uint8. ' in warnings[0]
        assert ('bands=3 is configured' in warnings[0]) == (name != 'deep.png')
        assert f"eave them out: exclude=['**/{name}']" in warnings[0]
        assert 'set bands' not in warnings[0].lower()  # which would break all others
        assert ("convert='rgb'" in warnings[0]) == (name != 'four.tif')
    assert sum(len(batch['inputs'][0]) for batch in batches(dataset, 0, epoch=0)) == len(dataset)
    with pytest.raises(ValueError, match='1 of 7 images') if MISFITS[name] else nullcontext():
        fast_folder(str(tmp_path), PIPELINE, max_unreadable=0)
    assert len(fast_folder(str(tmp_path), PIPELINE, max_unreadable=0, exclude=f'**/{name}')) == 6


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_converted_to_rgb_all_train(tmp_path):
    names = [name for name in MISFITS if name != 'four.tif']
    for name in names:
        write_misfit(tmp_path / name)
    convert = [dict(type='mmrs_ssl.LoadRaster', convert='rgb'), *PIPELINE[1:]]
    dataset = fast_folder(str(tmp_path), convert, max_unreadable=0)
    assert len(dataset) == len(names)
    assert sum(len(batch['inputs'][0]) for batch in batches(dataset, 0, epoch=0)) == len(names)
    levels = picture(bands=4)
    loaded = {
        name_of(sample): sample['img'] for sample in map(fast_folder(str(tmp_path), convert[:1]).__getitem__, range(9))
    }
    assert np.array_equal(loaded['gray.png'], np.repeat(levels[..., :1], 3, axis=2))
    assert np.array_equal(loaded['bits.png'], np.repeat((levels[..., :1] > 127) * np.uint8(255), 3, axis=2))


def test_labels_beside_images_are_excluded_or_named(tmp_path, warnings):
    for folder in ('A', 'B', 'label'):
        (tmp_path / folder).mkdir()
        for i in range(4):
            image = picture(seed=i)
            cv2.imwrite(str(tmp_path / folder / f'{i}.png'), image[..., 0] if folder == 'label' else image)
    mend = r"4 of 12 images .*4 with 1 band of uint8 .*exclude='\*\*/label', or raise"
    with pytest.raises(ValueError, match=mend):
        fast_folder(str(tmp_path), PIPELINE)
    dataset = fast_folder(str(tmp_path), PIPELINE, exclude='**/label')
    assert len(dataset) == 8
    assert not warnings
    assert sum(len(batch['inputs'][0]) for batch in batches(dataset, 2, epoch=0)) == 8
    assert len(fast_folder(str(tmp_path), PIPELINE, exclude='label/*', max_unreadable=0)) == 8
    assert len(fast_folder([f'{tmp_path}/A', f'{tmp_path}/B/*.png'], PIPELINE, max_unreadable=0)) == 8
    for roots in ([f'{tmp_path}/A', f'{tmp_path}/B'], f'{tmp_path}/*', f'{tmp_path}/nowhere'):
        with pytest.raises(ValueError, match='expected a folder; several without ann_file'):
            fast_folder(roots, PIPELINE, ann_file='a.txt')
    with pytest.raises(ValueError, match=r'data_root=\[\], expected a folder, a pattern or a file, or a list'):
        fast_folder([], PIPELINE)


def test_what_is_left_out_and_what_turns_out_bad_count_together(many, warnings):
    cv2.imwrite(str(many / 'gray.png'), picture()[..., 0])
    dataset = fast_folder(str(many), LOAD, max_unreadable=0.05)
    assert len(dataset) == 20
    assert name_of(dataset[7]) != '07.png'
    assert 'unreadable image 2 (at most 2 of 21)' in warnings[1]
    cv2.imwrite(str(many / '05.png'), picture(bands=1))  # changed since
    with pytest.raises(UnreadableImageError, match=r'3 of 21 images .*05\.png has 1 bands'):
        dataset[5]
    tolerant = fast_folder(str(many), LOAD, max_unreadable=0.2)
    cv2.imwrite(str(many / '06.png'), picture(bands=1))
    assert name_of(tolerant[5]) != name_of(tolerant[6]) != '06.png'


def test_a_link_in_a_circle_does_no_harm(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), picture())
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'sub' / 'up').symlink_to(tmp_path)
    dataset = fast_folder(str(tmp_path), LOAD)
    assert len(dataset) == 1
    assert dataset[0]['img_path'] == str(tmp_path / 'a.png')


def test_a_pipeline_of_other_loaders_has_its_files_looked_at(many, warnings):
    (many / 'text.png').write_text('no image')
    (many / 'text.tif').write_text('no image')
    cv2.imwrite(str(many / 'gray.png'), picture()[..., 0])
    dataset = fast_folder(str(many), [dict(type='LoadImageFromFile')], max_unreadable=0.1)
    assert len(dataset) == 21
    assert dataset[20]['img'].shape == (48, 40, 3)
    assert '2 that cannot be read, e.g. ' in warnings[0]


def batches(dataset, workers, epoch, seed=5):
    sampler = EpochSampler(dataset, shuffle=True, seed=seed)
    sampler.set_epoch(epoch)
    options = dict(batch_size=3, sampler=sampler, num_workers=workers, collate_fn=default_collate)
    return list(DataLoader(dataset, multiprocessing_context='fork' if workers else None, **options))


def equal(first, second):
    same = all(
        torch.equal(a, b)
        for one, two in zip(first, second, strict=True)
        for a, b in zip(one['inputs'], two['inputs'], strict=True)
    )
    boxes = [torch.stack([s.boxes for b in run for s in b['data_samples']]) for run in (first, second)]
    flips = [torch.stack([s.flips for b in run for s in b['data_samples']]) for run in (first, second)]
    paths = [[s.img_path for b in run for s in b['data_samples']] for run in (first, second)]
    return same and torch.equal(*boxes) and torch.equal(*flips) and paths[0] == paths[1]


def test_samples_do_not_depend_on_the_number_of_workers(many):
    """The cut-off image is among them; its stand-in must agree as well."""
    dataset = ImageFolder(str(many), PIPELINE)
    reference = batches(dataset, 0, epoch=4)
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    for workers in (0, 1, 2):
        assert equal(batches(dataset, workers, epoch=4), reference), workers
    assert dataset.skips.bad.sum() == 1


def test_workers_count_unreadable_images_together(many):
    truncate(many / '11.png')
    dataset = ImageFolder(str(many), PIPELINE, max_unreadable=0.1)
    batches(dataset, 2, epoch=0)
    assert dataset.skips.bad.nonzero().flatten().tolist() == [7, 11]
    truncate(many / '13.png')
    with pytest.raises(UnreadableImageError, match=r'3 of 20 images are unreadable, more than the 2 '):
        dataset[13]


def test_another_epoch_seed_or_index_draws_another_sample(image_folder):
    dataset = ImageFolder(str(image_folder), PIPELINE)
    index = SampleIndex(2, 3, 4)
    one = dataset[index]
    assert torch.equal(dataset[index]['inputs'][0], one['inputs'][0])
    for other in (SampleIndex(2, 4, 4), SampleIndex(2, 3, 5), SampleIndex(3, 3, 4), 2):
        assert not torch.equal(dataset[other]['inputs'][0], one['inputs'][0])
    assert torch.equal(dataset[2]['inputs'][0], dataset[SampleIndex(2, 0, 0)]['inputs'][0])  # a plain int
    assert dataset[-1]['data_samples'].img_path == dataset[len(dataset) - 1]['data_samples'].img_path


def test_a_list_may_name_an_image_twice_and_one_that_does_not_fit(tmp_path, warnings):
    (tmp_path / 'data').mkdir()
    for i in range(3):
        cv2.imwrite(str(tmp_path / 'data' / f'{i}.png'), picture())
    cv2.imwrite(str(tmp_path / 'data' / 'label.png'), picture()[..., 0])
    names = ['1.png', 'label.png', '0.png', '1.png', 'missing.png', '2.png']
    (tmp_path / 'list.txt').write_text('\n'.join(names) + '\n')
    options = dict(ann_file='list.txt', data_prefix='data')
    dataset = fast_folder(str(tmp_path), LOAD, max_unreadable=0.4, **options)
    assert [name_of(dataset[i]) for i in range(len(dataset))] == ['1.png', '0.png', '1.png', '2.png']
    assert dataset[0]['img_path'] == str(tmp_path / 'data' / '1.png')
    assert re.search(r'skipped 2 of 6 .*label\.png.*1 that cannot be read, e\.g\. .*missing\.png: No such', warnings[0])
    assert len(fast_folder(str(tmp_path), LOAD, max_unreadable=0.2, exclude=['label.png', 'm*'], **options)) == 4
    with pytest.raises(ValueError, match='2 of 6 images'):
        fast_folder(str(tmp_path), LOAD, max_unreadable=0.1, **options)


def test_a_config_takes_several_roots_what_to_exclude_and_rgb(tmp_path):
    cfg = get_config('cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px')
    roots = [str(tmp_path / 'a'), f'{tmp_path}/b/**/*.png']
    override(cfg, dict(data_root=roots, exclude=['**/label'], convert='rgb'))
    for folder in ('a', 'b', 'a/label'):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'x.png'), picture()[..., 0])
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=cfg.train_dataloader.dataset.pipeline[:1]))
    assert [dataset[i]['img_path'] for i in range(len(dataset))] == [f'{tmp_path}/a/x.png', f'{tmp_path}/b/x.png']
    assert dataset[0]['img'].shape == (48, 40, 3)


@pytest.mark.parametrize('name', ['../a.png', '/etc/a.png', '', 'b\\..\\a.png'])
def test_names_of_a_list_stay_in_the_folder(tmp_path, name):
    cv2.imwrite(str(tmp_path / 'a.png'), picture())
    (tmp_path / 'data').mkdir()
    cv2.imwrite(str(tmp_path / 'data' / 'b.png'), picture())
    (tmp_path / 'data' / 'list.txt').write_text('b.png\n')
    assert name_of(ImageFolder(str(tmp_path / 'data'), LOAD, ann_file='list.txt')[0]) == 'b.png'
    (tmp_path / 'data' / 'list.txt').write_text(f'b.png\n{name}\nb.png\n')
    with pytest.raises(ValueError, match=r'list\.txt: the name .*mend or remove it'):
        ImageFolder(str(tmp_path / 'data'), LOAD, ann_file='list.txt')
