"""Compare the sizes of crops with those of images, patches, windows of attention and blocks of masks."""

from collections.abc import Iterator
from typing import Any

from mmpretrain.models import SwinTransformer
from mmpretrain.models.utils import ShiftWindowMSA

from mmrs_ssl.cli.checks.findings import Finding, setting
from mmrs_ssl.cli.checks.planned import PlannedTraining
from mmrs_ssl.models.algorithms.dino_mc import patch_size
from mmrs_ssl.models.backbones.padded_swin import PaddedWindowAttention
from mmrs_ssl.models.masks.blocks import block_grid, block_mask

MOST_ENLARGED = 2.0  # beyond it views show less than they have pixels for
MOST_SHRUNK = 8.0
# Methods that cannot leave the rest of an image beside whole patches out.
WHOLE_PATCHES = ('MSSDF', 'MAE', 'SimMIM')
_CROP = 'train_dataloader.dataset.pipeline.1.size'


def check_crops(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the largest view with the images it is cut from."""
    cfg, view = planned.cfg, planned.largest_view
    sides = [pixels.side for pixels in planned.pixels.values()]
    if not sides:
        return
    side, wanted = min(sides), max(view.height, view.width)
    seen = f'views of {wanted} pixels from images or windows of {side}'
    if wanted > MOST_ENLARGED * side:
        step = 32 if side >= 64 else 8
        yield Finding(
            'warning',
            'crop',
            f'{seen}: enlarged {wanted / side:.1f} times, and more where a crop is a part of it',
            f'at most {MOST_ENLARGED:g} times',
            setting(cfg, 'size', max(step, round(side / step) * step), _CROP) + larger_window(planned),
        )
    elif side > MOST_SHRUNK * wanted:
        yield Finding(
            'note',
            'crop',
            f'{seen}: every image is decoded whole and shrunk {side / wanted:.0f} times',
            f'windows of about {2 * wanted} pixels show details, and are read faster',
            f"train_dataloader.dataset.type = 'mmrs_ssl.SceneDataset' with window = {2 * wanted}, or cut the images "
            'with tools/tile_scenes.py',
        )
    else:
        yield Finding('note', 'crop', seen)


def larger_window(planned: PlannedTraining) -> str:
    """Offer a larger window where the data set reads windows; empty for others."""
    dataset = planned.cfg.train_dataloader.dataset
    return ', or a larger train_dataloader.dataset.window' if 'window' in dataset else ''


def check_patches(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the views with the network's patches."""
    cfg, view = planned.cfg, planned.largest_view
    backbone = planned.model.backbone
    patch = patch_size(backbone) if hasattr(getattr(backbone, 'patch_embed', None), 'projection') else 1
    for side in {view.height, view.width}:
        if side % patch:
            yield Finding(
                'error' if planned.method in WHOLE_PATCHES else 'warning',
                'patch',
                f'views of {side} pixels are {side // patch} patches of {patch} and {side % patch} pixels more',
                f'a multiple of {patch}',
                setting(cfg, 'size', max(1, round(side / patch)) * patch, _CROP),
            )
    own = getattr(backbone, 'img_size', None)
    if planned.method == 'MAE' and own is not None:
        own = own[0] if isinstance(own, tuple | list) else own
        if own != view.height:
            yield Finding(
                'error',
                'patch',
                f'views of {view.height} pixels, backbone and decoder have positions for {own}',
                'one size',
                setting(cfg, 'size', own, 'model.backbone.img_size'),
            )


def check_windows(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the maps of a Swin with its windows of attention."""
    backbone = planned.model.backbone
    if not isinstance(backbone, SwinTransformer):
        return
    attentions = [part for part in backbone.modules() if isinstance(part, ShiftWindowMSA)]
    window, patch = attentions[0].window_size, patch_size(backbone)
    shrinks = patch * 2 ** (len(backbone.stages) - 1)
    padded = isinstance(attentions[0], PaddedWindowAttention) or attentions[0].pad_small_map
    smallest = min(min(view.height, view.width) for view in planned.views)
    if not padded and smallest // shrinks < window:
        yield Finding(
            'error',
            'window of attention',
            f'views of {smallest} pixels make a last map of {smallest // shrinks} cells, windows have {window}',
            f'at least {window} cells, {window * shrinks} pixels, or padded maps',
            "model.backbone.type = 'mmrs_ssl.PaddedSwinTransformer' (or model.backbone.pad_small_map = True)",
        )
    side, whole = planned.largest_view.height, window * shrinks
    if side % whole and side > whole // 2:
        yield Finding(
            'note',
            'window of attention',
            f'views of {side} pixels: maps are padded to whole windows of {window} cells',
            f'a multiple of {whole} wastes nothing',
            setting(planned.cfg, 'size', max(1, round(side / whole)) * whole, _CROP),
        )


def check_masks(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the views with the blocks that are masked."""
    model, view = planned.model, planned.largest_view
    if hasattr(model, 'mask_block'):
        try:
            block_mask(1, block_grid(view.height, view.width, model.mask_block), model.mask_ratio)
        except ValueError as error:
            block = next(each for each in (32, 16, 8, 4, 2, 1) if view.height % each == 0 and each < view.height)
            yield Finding(
                'error',
                'mask',
                str(error).partition(': ')[0],
                'whole blocks, some masked and some not',
                f'model.mask_block = {block}, or another size of views',
            )
    mask: Any = planned.sample.get('data_samples', {}).get('mask')
    patch = getattr(getattr(model, 'head', None), 'patch_size', None)
    if planned.method == 'SimMIM' and mask is not None and patch and mask.shape[-1] * patch != view.width:
        yield Finding(
            'error',
            'mask',
            f'a mask of {mask.shape[-1]} cells of {patch} pixels for views of {view.width} pixels',
            'one size',
            setting(planned.cfg, 'size', view.width, 'train_dataloader.dataset.pipeline.-2.input_size'),
        )
