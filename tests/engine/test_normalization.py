"""Statistics of a pre-training and of a model, compared and brought together: every outcome, in its row."""

import mmseg.models  # noqa: F401
import pytest
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope

from mmrs_ssl.engine.band_order import readings
from mmrs_ssl.engine.normalization import Pretrained, compare_normalization, seen_in_pretraining
from mmrs_ssl.engine.preprocessors import Normalization
from mmrs_ssl.transfer.records import Record

MEAN, STD = (86.0, 92.0, 85.0), (35.0, 34.5, 36.0)
SAME = dict(mean=MEAN, std=STD, bgr_to_rgb=True)
OPENCV, RASTER = dict(type='LoadImageFromFile'), dict(type='mmrs_ssl.LoadRaster')
NORMALIZE = dict(type='mmcv.Normalize', mean=[0] * 3, std=[1] * 3)


class Whole(BaseModel):
    """A model of nothing but its data preprocessor."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


def compare(pretrained=None, statistics=SAME, pipelines=((OPENCV,),), adopt=False, bands=3, kind='SegDataPreProcessor'):
    """The outcome of every row by its name, and all that was found."""
    init_default_scope('mmseg')
    model = Whole(data_preprocessor=None if statistics is None else dict(type=kind, **statistics))
    read = [each for pipeline in pipelines for each in readings(dict(dataset=dict(pipeline=list(pipeline))))]
    result = compare_normalization(model, bands, pretrained or Pretrained(MEAN, STD, 'rgb', 3), read, adopt)
    return {row[0]: row[3] for row in result.rows}, result


def outcome(**options):
    return compare(**options)[0]


@pytest.mark.parametrize(
    ('changes', 'wanted'),
    [
        ({}, 'same'),
        (dict(mean=[86.2, 92.1, 85.1]), 'same'),
        (dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]), 'differs'),
        (dict(std=[11.7, 11.5, 12.0]), 'differs'),
        (dict(std=[11.6, 11.4, 11.9]), 'refused'),
        (dict(std=[104.0, 103.0, 107.0]), 'differs'),
        (dict(std=[35.0, 34.5, 109.0]), 'refused'),
        (dict(mean=[86.0 + 104.0, 92.0, 85.0]), 'differs'),
        (dict(mean=[86.0 - 106.0, 92.0, 85.0]), 'refused'),
        (dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]), 'refused'),
        (dict(mean=[0, 0, 0], std=[1, 1, 1]), 'refused'),
        (dict(mean=None, std=None), 'refused'),
    ],
)
def test_statistics_may_be_off_by_a_factor_of_three(changes, wanted):
    found, result = compare(statistics={**SAME, **changes})
    assert (found['mean'], found['std']) == (wanted, wanted)
    assert bool(result.errors) == (wanted == 'refused')
    assert result.differs == (wanted == 'differs')
    assert result.adopted is None
    adopted, result = compare(statistics={**SAME, **changes}, adopt=True)
    assert adopted['mean'] == ('same' if wanted == 'same' else 'adopted')
    assert (result.errors, result.adopted) == ([], Normalization(MEAN, STD, True))


@pytest.mark.parametrize('adopt', [False, True])
@pytest.mark.parametrize(
    ('order', 'swaps', 'pipelines', 'wanted'),
    [
        ('rgb', True, [[OPENCV]], 'same'),
        ('rgb', False, [[OPENCV]], 'refused'),
        ('rgb', True, [[RASTER]], 'refused'),
        ('rgb', False, [[RASTER], [RASTER]], 'same'),
        ('bgr', True, [[OPENCV]], 'refused'),
        ('bgr', False, [[OPENCV]], 'same'),
        ('rgb', True, [[OPENCV], [RASTER]], 'both'),
        ('rgb', True, [[dict(type='LoadMine')]], 'not compared'),
        ('rgb', True, [], 'not compared'),
        (None, True, [[OPENCV]], 'as the config says'),
    ],
)
def test_the_order_of_three_bands(order, swaps, pipelines, wanted, adopt):
    pretrained = Pretrained(MEAN, STD, order, 3)
    found, result = compare(pretrained, dict(SAME, bgr_to_rgb=swaps), pipelines, adopt)
    if wanted == 'both':
        assert found['order of bands'] == 'refused'
        assert 'another order than the next' in result.errors[0]
        return
    assert found['order of bands'] == ('adopted' if adopt and wanted == 'refused' else wanted)
    assert bool(result.errors) == (wanted == 'refused' and not adopt)
    if adopt:
        assert result.adopted.swaps == (swaps if wanted != 'refused' else not swaps)


BGR_FILES = dict(bands=3, channel_order='bgr', loader=dict(bands=3), named=True)  # a count, of B, G, R by name
TURNED = dict(bands=3, channel_order='rgb', loader=dict(bands=[2, 1, 0]), named=True)  # the same, by number
UNNAMED = dict(bands=3, channel_order='rgb', loader=dict(bands=3))
BY_NUMBER = dict(type='mmrs_ssl.LoadRaster', bands=[2, 1, 0])
NAMED_BGR = dict(band_names={'': ('blue', 'green', 'red')})


@pytest.mark.parametrize(
    ('record', 'loader', 'dataset', 'wanted'),
    [
        (BGR_FILES, RASTER, {}, 'same'),  # the same files, of which mmsegmentation knows no names
        (BGR_FILES, RASTER, NAMED_BGR, 'same'),
        (BGR_FILES, OPENCV, {}, 'same'),
        (BGR_FILES, BY_NUMBER, {}, 'refused'),
        (TURNED, BY_NUMBER, {}, 'same'),
        (TURNED, RASTER, NAMED_BGR, 'refused'),
        (TURNED, RASTER, {}, 'refused'),
        (TURNED, OPENCV, {}, 'refused'),
        (UNNAMED, RASTER, NAMED_BGR, 'same'),  # nobody knows what those of the pre-training were called
        (UNNAMED, OPENCV, {}, 'refused'),
    ],
)
def test_orders_of_files_that_name_their_bands(record, loader, dataset, wanted):
    """By names where both sides know them, else by places in files."""
    init_default_scope('mmseg')
    pretrained = seen_in_pretraining(Record(mean=list(MEAN), std=list(STD), **record), [0, 1, 2])
    model = Whole(data_preprocessor=dict(type='SegDataPreProcessor', **dict(SAME, bgr_to_rgb=False)))
    read = readings(dict(dataset=dict(pipeline=[loader], **dataset)))
    rows = compare_normalization(model, 3, pretrained, read, adopt=False).rows
    assert {row[0]: row[3] for row in rows}['order of bands'] == wanted
    turned = seen_in_pretraining(Record(mean=list(MEAN), std=list(STD), **record), [2, 1, 0])
    rows = compare_normalization(model, 3, turned, read, adopt=False).rows
    assert {row[0]: row[3] for row in rows}['order of bands'] == {'same': 'refused', 'refused': 'same'}[wanted]


def test_the_order_that_a_checkpoint_kept_where_no_loader_tells_it():
    kept = Pretrained(MEAN, STD, 'rgb', 3, swaps=True)
    assert compare(kept, dict(SAME, bgr_to_rgb=False), [], adopt=True)[1].adopted.swaps is True
    assert compare(kept, dict(SAME, bgr_to_rgb=False), [[RASTER]], adopt=True)[1].adopted.swaps is False


def test_bands_that_cannot_be_swapped():
    bands = dict(statistics=dict(mean=MEAN, std=STD), kind='mmrs_ssl.BandPreprocessor')
    assert outcome(pipelines=[[RASTER]], adopt=True, **bands)['order of bands'] == 'same'
    found, result = compare(pipelines=[[OPENCV]], adopt=True, **bands)
    assert found['order of bands'] == 'refused'
    assert result.errors == ['the pre-training saw rgb, the model gets bgr: load them in that order']


def test_another_number_of_bands():
    found, result = compare(Pretrained((1.0,) * 13, (1.0,) * 13, None, 13), adopt=True)
    assert found == dict(bands='refused')
    assert 'saw 13 bands, the model takes 3' in result.errors[0]
    four = dict(statistics=dict(mean=[1.0] * 4, std=[2.0] * 4), bands=4)
    found, result = compare(Pretrained((1.5,) * 4, (2.5,) * 4, None, 4), **four)
    assert found == dict(bands='same', mean='differs', std='differs')  # of more than three bands no order is judged


@pytest.mark.parametrize(
    ('statistics', 'pipelines'),
    [(SAME, [[OPENCV, NORMALIZE]]), (None, [[OPENCV]])],
)
def test_what_is_not_normalized_by_one_data_preprocessor(statistics, pipelines):
    found, result = compare(statistics=statistics, pipelines=pipelines)
    assert (found['mean and std'], result.errors) == ('not compared', [])
    found, result = compare(statistics=statistics, pipelines=pipelines, adopt=True)
    assert 'give the model one with mean and std' in result.errors[-1]
    assert result.adopted is None


def test_pairs_of_images_and_one_value_for_all_bands():
    """Every image of a pair is compared; what is adopted is for both."""
    other = dict(mean=[*MEAN, 86.0, 92.0, 400.0], std=STD * 2, bgr_to_rgb=True)
    found, result = compare(statistics=other)
    assert (found['mean'], len(result.errors)) == ('refused', 1)
    assert compare(statistics=other, adopt=True)[1].adopted == Normalization(MEAN * 2, STD * 2, True)
    assert compare(statistics=dict(mean=[100.0], std=[40.0]), adopt=True)[1].adopted.mean == MEAN


def test_files_that_record_nothing():
    found, result = compare(seen_in_pretraining(Record(), 'mean'), adopt=True)
    assert found == {'order of bands': 'as the config says', 'mean and std': 'as the config says'}
    assert (result.errors, result.adopted) == ([], None)


def test_bands_that_take_others_kernels():
    record = Record(mean=list(MEAN), std=list(STD), channel_order='rgb', bands=3)
    assert seen_in_pretraining(record, 'mean') == Pretrained(MEAN, STD, 'rgb', 3)
    assert seen_in_pretraining(record, [2, 1, 0]) == Pretrained(MEAN[::-1], STD[::-1], 'bgr', 3)
    four = seen_in_pretraining(record, [2, 1, 0, None])
    assert four == Pretrained((85.0, 92.0, 86.0, None), (36.0, 34.5, 35.0, None), None, 4)
    own = dict(statistics=dict(mean=[1.0, 2.0, 3.0, 4.0], std=[5.0, 6.0, 7.0, 8.0]), bands=4)
    adopted = compare(four, adopt=True, **own)[1].adopted
    assert (adopted.mean, adopted.std) == ((85.0, 92.0, 86.0, 4.0), (36.0, 34.5, 35.0, 8.0))


@pytest.mark.parametrize(
    ('mean', 'std'), [(MEAN, (35.0, 0.0, 36.0)), (MEAN, (35.0, float('inf'), 36.0)), ((float('nan'), 92.0, 85.0), STD)]
)
@pytest.mark.parametrize('adopt', [True, False])
def test_statistics_that_no_image_can_be_normalized_by(mean, std, adopt):
    found, result = compare(Pretrained(mean, std, 'rgb', 3), adopt=adopt)
    assert found['std'] == 'refused'
    assert result.adopted is None
    assert 'expected finite numbers, deviations above 0' in result.errors[0]


def test_statistics_of_another_number_of_bands_are_replaced():
    """By the file's six, where the config still has three."""
    mean, std = tuple(range(100, 106)), tuple(range(50, 56))
    pretrained = Pretrained(mean, std, None, 6)
    found, result = compare(pretrained, adopt=True, bands=6)
    assert found['mean'] == 'adopted'
    assert (result.adopted.mean, result.adopted.std) == (mean, std)
    with pytest.raises(ValueError, match='expected values for the 6 bands of the backbone'):
        compare(pretrained, bands=6)
    with pytest.raises(ValueError, match='expected values for the 6 bands of the backbone'):
        compare(Pretrained((*mean[:5], None), std, None, 6), adopt=True, bands=6)


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(type='RandomApply', transforms=[NORMALIZE], prob=0.5),
        dict(type='MultiBranch', branch_field=['sup'], sup=[NORMALIZE]),
        dict(type='Albu', transforms=[dict(type='Normalize')]),
        dict(type='RandomChoice', transforms=[[OPENCV], [NORMALIZE]]),
    ],
)
def test_normalization_inside_of_other_transforms_is_seen(wrapper):
    (read,) = readings(dict(dataset=dict(pipeline=[OPENCV, wrapper])))
    assert read.normalized
    assert read.loader == 'LoadImageFromFile'


def test_the_outer_pipeline_of_a_data_set_that_holds_another_is_read():
    inner = dict(type='CocoDataset', pipeline=[OPENCV])
    (read,) = readings(dict(dataset=dict(type='MultiImageMixDataset', dataset=inner, pipeline=[NORMALIZE])))
    assert (read.normalized, read.loader) == (True, 'LoadImageFromFile')


def test_heights_that_are_normalized_are_no_images():
    """As the height configs do, by a wrapper that gives their entry in the image's place."""
    mapping = dict(img='gt_depth_map')
    heights = dict(type='KeyMapper', mapping=mapping, remapping=mapping, transforms=[NORMALIZE])
    images = dict(type='KeyMapper', mapping=dict(img='img'), transforms=[NORMALIZE])
    for wrapper, normalized in ((heights, False), (images, True)):
        (read,) = readings(dict(dataset=dict(pipeline=[OPENCV, wrapper])))
        assert read.normalized == normalized
