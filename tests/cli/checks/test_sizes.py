"""Findings about sizes, each with one mistake planted."""

import pytest
import torch
from mmpretrain.registry import MODELS

from mmrs_ssl import get_config
from mmrs_ssl.cli.checks.sizes import check_crops, check_masks, check_patches, check_windows
from mmrs_ssl.cli.config import override
from tests.cli.checks.planning import above_notes, only, plan
from tests.conftest import BACKBONES, cmid_config, dino_config, mssdf_config
from tests.test_mmpretrain_configs import shrink


def sized(make_config, size, model=None, **changes):
    """A planned training whose views have so many pixels."""
    cfg = make_config(model=model)
    override(cfg, dict(size=size, **changes))
    return plan(cfg)


def mmpretrain_plan(name, image_folder, **options):
    cfg = get_config(f'mmpretrain/{name}')
    override(cfg, dict(data_root=str(image_folder), size=64))
    override(cfg, options)
    shrink(cfg, name.split('_')[0])
    return plan(cfg)


def test_what_fits_is_a_note(make_config):
    for model in (cmid_config(), dino_config('vit'), mssdf_config()):
        planned = plan(make_config(model=model))
        for check in (check_crops, check_patches, check_windows, check_masks):
            assert not above_notes(check(planned))


@pytest.mark.parametrize(('size', 'level'), [(180, []), (192, ['warning'])])
def test_views_that_are_enlarged(make_config, size, level):
    """The images' smaller side is 90 pixels."""
    found = above_notes(check_crops(sized(make_config, size)))
    assert [each.level for each in found] == level
    if found:
        assert 'views of 192 pixels from images or windows of 90: enlarged 2.1 times' in found[0].seen
        assert found[0].change == 'size = 96 (that is train_dataloader.dataset.pipeline.CMIDViews.size)'


def test_windows_that_are_enlarged(make_config):
    cfg = make_config(model=mssdf_config())
    override(cfg, dict(size=64, window=24))
    assert only(check_crops(plan(cfg))).change.endswith(', or a larger train_dataloader.dataset.window')


def test_images_that_are_shrunk_much(make_config):
    planned = sized(make_config, 8)
    (note,) = check_crops(planned)
    assert note.level == 'note'
    assert 'shrunk 11 times' in note.seen


@pytest.mark.parametrize(('model', 'level'), [(dino_config('vit'), 'warning'), (mssdf_config(), 'error')])
def test_views_that_are_no_whole_patches(make_config, model, level):
    """DINO-MC leaves the rest out, MSSDF cannot."""
    found = only(check_patches(sized(make_config, 60, model)))
    patch = 8 if level == 'warning' else 16
    assert found.level == level
    assert found.seen == f'views of 60 pixels are {60 // patch} patches of {patch} and {60 % patch} pixels more'
    assert found.change.startswith('size = 64 (that is train_dataloader.dataset.pipeline.')


def test_positions_of_mae_are_for_one_size(image_folder):
    options = {'model.backbone.img_size': 96}
    found = only(
        check_patches(mmpretrain_plan('mae_vit-base-p16_1xb64-coslr-300e_folder-224px', image_folder, **options))
    )
    assert found.seen == 'views of 64 pixels, backbone and decoder have positions for 96'
    assert found.change.startswith('size = 96 (that is train_dataloader.dataset.pipeline.RandomCropResize.size, ')


def test_maps_smaller_than_a_window_of_attention(make_config):
    backbone = {**BACKBONES['swin'][0], 'window_size': 4, 'pad_small_map': False}
    planned = plan(make_config(model=cmid_config()))
    planned.model = torch.nn.Module()
    planned.model.backbone = MODELS.build(backbone)
    found = only(check_windows(planned))
    assert found.level == 'error'
    assert found.seen == 'views of 64 pixels make a last map of 2 cells, windows have 4'
    assert found.change.startswith("model.backbone.type = 'mmrs_ssl.PaddedSwinTransformer'")


def test_maps_that_are_padded_are_a_note(make_config):
    planned = sized(make_config, 96, cmid_config('swin'))
    (note,) = check_windows(planned)
    assert 'padded to whole windows of 2 cells' in note.seen
    assert note.level == 'note'


@pytest.mark.parametrize(
    ('options', 'words', 'change'),
    [
        ({'model.mask_block': 24}, 'a view of 64 x 64 pixels cannot be cut into mask blocks of 24 x 24', 32),
        ({'model.mask_block': 64}, 'mask_ratio=0.6 masks 1 of 1 blocks (1 x 1)', 32),
    ],
)
def test_blocks_that_do_not_fit_the_views(make_config, options, words, change):
    cfg = make_config()
    override(cfg, options)
    found = only(check_masks(plan(cfg)))
    assert (found.level, found.seen.startswith(words)) == ('error', True)
    assert found.change.startswith(f'model.mask_block = {change}')


def test_a_mask_of_simmim_of_another_size(image_folder):
    name = 'simmim_swin-base_1xb64-coslr-100e_folder-224px'
    assert not list(check_masks(mmpretrain_plan(name, image_folder)))
    cfg_options = {'train_dataloader.dataset.pipeline.2.input_size': 128}
    found = only(check_masks(mmpretrain_plan(name, image_folder, **cfg_options)))
    assert found.seen == 'a mask of 32 cells of 4 pixels for views of 64 pixels'
    assert found.change.startswith('size = 64 (that is ')
