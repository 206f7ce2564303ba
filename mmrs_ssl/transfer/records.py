"""Read what a checkpoint says of its own pre-training: how pixels were normalized, and which backbone it holds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from mmrs_ssl.band_names import color_order, order_of_loaded
from mmrs_ssl.registry import SCOPE
from mmrs_ssl.transfer.own_checkpoints import first_modality, read_settings
from mmrs_ssl.transfer.targets import as_plain_backbone

# OpenMMLab's loaders of pictures, whose bands come in OpenCV's order.
_PIPELINES = ('train_dataloader.dataset.pipeline', 'train_dataloader.dataset.dataset.pipeline')
_BANDS_OF_FILES = ('band_files', 'bands')  # options of data sets whose images have a file per band
_NOT_PIXELS = ('type', 'modality', 'size')  # options of LoadRaster that say where, not which values
_OTHER = {'rgb': 'bgr', 'bgr': 'rgb'}
_BGR_LOADERS = r'((mmcv|mmpretrain|mmseg|mmdet|opencd)\.)?(MultiImg)?LoadImageFrom(File|NDArray)'


@dataclass(frozen=True)
class Record:
    """What a file says of its pre-training, each field None where it says nothing.

    Args:
        mean, std: per band, in the order of bands that the backbone saw and in the rasters' units.
        channel_order: of three bands, ``'rgb'`` or ``'bgr'``, as :class:`mmrs_ssl.LoadRaster` gave them: as it names or
            numbers them, or else as the files do; ``'rgb'`` where these do not say.
        bands: how many the backbone sees.
        backbone: config of the backbone's class, under the names of its library.
        method: type of the model that was trained.
        size: side of the (global) views in pixels.
        loader: options of :class:`mmrs_ssl.LoadRaster`, by which pixels were read.
        reverses: of three bands: whether the backbone saw them in the reverse of the order in which ``loader`` gives
            them, or, without one, in the reverse of red, green and blue.
        named: whether ``channel_order`` is told by names of bands, and not by their places in files alone.
    """

    mean: list[float] | None = None
    std: list[float] | None = None
    channel_order: str | None = None
    bands: int | None = None
    backbone: dict[str, Any] | None = None
    method: str | None = None
    size: int | None = None
    loader: dict[str, Any] | None = None
    reverses: bool = False
    named: bool = False

    @property
    def by_position(self) -> str | None:
        """The order of three bands if their places in files count alone; None where LoadRaster did not read them."""
        if self.loader is None or self.bands != 3:
            return None
        bands = self.loader.get('bands')
        order = color_order(bands) if isinstance(bands, list | tuple) else 'rgb'
        return _OTHER.get(order or '') if self.reverses else order


def read_record(content: Any, modality: str | None = None) -> Record:
    """Read what a checkpoint says of itself: nothing is run, nothing is guessed.

    It says it in ``meta``: a training checkpoint by the text of its config, this project's or another OpenMMLab
    library's as far as that is plain data; an exported file by entries of its own.

    Args:
        content: what :func:`mmrs_ssl.transfer.sources.read_file` returns.
        modality: whose statistics to take where a model has several; by default the first one's.
    """
    meta = content.get('meta') if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        return Record()
    if isinstance(meta.get('cfg'), str):
        return _of_config(read_settings(meta['cfg']), modality, content.get('state_dict'), meta.get('band_names'))
    if 'config_sha256' in meta:
        order = meta.get('channel_order', 'rgb')  # files of before it was written
        order = order if order in ('rgb', 'bgr') else None
        record = _record(meta, meta.get('backbone'), meta.get('method'), order)
        size, loader = meta.get('size'), meta.get('loader')
        loader = loader if isinstance(loader, dict) else None
        size = size if isinstance(size, int) else None
        reverses, named = (bool(meta.get(key)) for key in ('reverses', 'named'))
        return replace(record, size=size, loader=loader, reverses=reverses, named=named)
    return Record()


def _of_config(settings: Mapping[str, Any], modality: str | None, weights: Any, band_names: Any = None) -> Record:
    model = settings.get('model')
    if not isinstance(model, dict):
        return Record()
    # a library's Runner gives the model what stands beside it, where the model has none
    statistics = model.get('data_preprocessor', settings.get('data_preprocessor'))
    statistics = statistics if isinstance(statistics, dict) else {}
    own = any(str(part.get('type')).startswith(f'{SCOPE}.') for part in (statistics, model))
    modalities = statistics.get('modalities')
    if isinstance(modalities, dict) and modalities:
        names = [key for key in weights if isinstance(key, str)] if isinstance(weights, dict) else []
        modality = first_modality(modalities, names) if modality is None else modality
        statistics = modalities.get(modality, {})
        statistics = statistics if isinstance(statistics, dict) else {}
    order, named = _order(statistics, settings, own, modality, _names_of_bands(band_names, modality))
    record = _record(statistics, model.get('backbone'), model.get('type'), order)
    loader = loader_of(settings, modality)
    reverses = record.channel_order == 'bgr' if loader is None else record.bands == 3 and _swapped(statistics)
    named = named and record.bands == 3
    return replace(record, size=size_of_views(settings), loader=loader, reverses=reverses, named=named)


def size_of_views(settings: Mapping[str, Any]) -> int | None:
    """Find the side of the views in a config's settings: what its short name ``size`` stands for; None if unsaid."""
    names = settings.get('short_names')
    paths = names.get('size') if isinstance(names, dict) else None
    found: set[int] = set()
    for path in paths if isinstance(paths, list) else [paths]:
        found |= {node for node in _at(settings, str(path)) if isinstance(node, int) and not isinstance(node, bool)}
    return found.pop() if len(found) == 1 else None


def loader_of(settings: Mapping[str, Any], modality: str | None = None) -> dict[str, Any] | None:
    """Find by which options of LoadRaster pixels were read in pre-training, in a config's settings; None if unsaid.

    Of several modalities it is that of ``modality``.
    """
    found = [inner for part in _PIPELINES for inner in _at(settings, f'{part}.LoadRaster')]
    if not found:
        each = [inner for part in _PIPELINES for inner in _at(settings, f'{part}.LoadModalities.modalities')]
        found = [options[modality] for options in each if isinstance(options, dict) and modality in options]
    options = found[0] if found and isinstance(found[0], dict) else None
    return None if options is None else {key: value for key, value in options.items() if key not in _NOT_PIXELS}


def _at(node: Any, path: str) -> list[Any]:
    nodes = [node]
    for part in path.split('.'):
        nodes = [inner for each in nodes for inner in _inside(each, part)]
    return nodes


def _inside(node: Any, part: str) -> list[Any]:
    """List what a part of a path leads to: a key of a dict, an element of a list by number, type or all."""
    if isinstance(node, dict):
        return [node[part]] if part in node else []
    if not isinstance(node, list):
        return []
    kinds = [str(item.get('type')).rsplit('.', 1)[-1] if isinstance(item, dict) else '' for item in node]
    return [item for i, item in enumerate(node) if part in (str(i), '*', kinds[i])]


def _order(
    statistics: Mapping[str, Any], settings: Mapping[str, Any], own: bool, modality: str | None, names: Sequence[str]
) -> tuple[str | None, bool]:
    """Find the order of bands that a model sees, and whether names tell it.

    Options to swap them tell half of it, what loads them the other.
    """
    if (loader := loader_of(settings, modality)) is not None:
        order, named = _loaded_order(loader, settings, names)
        return _OTHER.get(order or '') if _swapped(statistics) else order, named
    if statistics.get('to_rgb') or statistics.get('bgr_to_rgb'):
        return 'rgb', False
    if statistics.get('rgb_to_bgr'):
        return 'bgr', False
    pipeline: Any = settings.get('train_pipeline')
    first = pipeline[0] if isinstance(pipeline, list) and pipeline else None
    if isinstance(first, dict) and re.fullmatch(_BGR_LOADERS, str(first.get('type'))):
        return 'bgr', False
    return 'rgb' if own else None, False


def _swapped(statistics: Mapping[str, Any]) -> bool:
    return any(statistics.get(option) for option in ('to_rgb', 'bgr_to_rgb', 'rgb_to_bgr'))


def _names_of_bands(named: Any, modality: str | None) -> tuple[str, ...]:
    """Find what the files of a pre-training called the bands that were loaded, by modality."""
    named = named if isinstance(named, dict) else {}
    names = named.get(modality or '', next(iter(named.values()), ()) if len(named) == 1 else ())
    fit = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return tuple(names) if fit else ()


def _loaded_order(loader: Mapping[str, Any], settings: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, bool]:
    """Tell in which order LoadRaster gives three bands, and whether names do: its own, the data set's or the files'."""
    datasets = [_at(settings, part.removesuffix('.pipeline')) for part in reversed(_PIPELINES)]
    files = [each.get(key) for found in datasets for each in found for key in _BANDS_OF_FILES]
    return order_of_loaded(loader.get('bands'), next((bands for bands in files if bands), None), names)


def _record(statistics: Mapping[str, Any], backbone: Any, method: Any, order: str | None) -> Record:
    mean, std = (_numbers(statistics.get(key)) for key in ('mean', 'std'))
    if mean is None or std is None or len(mean) != len(std):
        mean = std = None
    bands: Any = statistics.get('bands')
    settings = None
    patch: Any = backbone.get('patch_cfg', {}) if isinstance(backbone, dict) else None
    if isinstance(backbone, dict) and isinstance(backbone.get('type'), str) and isinstance(patch, dict):
        settings = {key: value for key, value in as_plain_backbone(backbone)[0].items() if key != 'init_cfg'}
        bands = backbone.get('in_channels', bands)
    bands = len(mean) if mean else bands
    bands = bands if isinstance(bands, int) and not isinstance(bands, bool) else None
    return Record(
        mean=mean,
        std=std,
        channel_order=order if bands == 3 else None,
        bands=bands,
        backbone=settings,
        method=method if isinstance(method, str) else None,
    )


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list | tuple) or not value:
        return None
    if not all(isinstance(number, Real) and not isinstance(number, bool) for number in value):
        return None
    try:
        return [float(number) for number in value]
    except OverflowError:  # of 400 digits
        return None
