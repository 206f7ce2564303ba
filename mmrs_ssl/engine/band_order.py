"""Tell whether a pipeline gives a model red, green and blue in this order or the other way round."""

from collections.abc import Iterator, Sequence
from typing import Any

import mmcv.transforms
from mmengine.registry import TRANSFORMS

from mmrs_ssl.band_names import color_order, order_of_loaded
from mmrs_ssl.datasets.transforms.loading import LoadRaster

OTHER = {'rgb': 'bgr', 'bgr': 'rgb'}
# Whose subclasses of mmcv's loader decode as it does; another one's may do anything.
_LIBRARIES = ('mmcv', 'mmpretrain', 'mmseg', 'mmdet', 'opencd')
# mmsegmentation's, by GDAL: bands as they are in the file.
_IN_FILE_ORDER = ('LoadSingleRSImageFromFile', 'LoadMultipleRSImageFromFile')
_NO_IMAGES = ('Annotation', 'Proposals')


class Reading:
    """What a pipeline does to the bands before the model sees them.

    Attributes:
        loader: class of the transform that loads images; ``'no loader of images'`` where none is recognized.
        order: ``'rgb'`` or ``'bgr'``, of three bands at the end of the pipeline; None where nothing tells it.
        by_position: the same if the places of bands in files count alone; None where LoadRaster does not read them.
        named: whether names of bands tell ``order``.
        normalized: whether the pipeline normalizes images itself.
    """

    def __init__(self, dataset: Any, transforms: Sequence[Any]) -> None:
        self.loader = 'no loader of images'
        self.order: str | None = None
        self.by_position: str | None = None
        self.named = False
        self.normalized = False
        for transform in _flat(transforms):
            kind = _name(transform)
            if kind.removeprefix('MultiImg').startswith('Load') and not any(word in kind for word in _NO_IMAGES):
                self.loader = kind
                loader = _built(transform)
                self.order, self.named = loaded_order(loader, dataset)
                listed = isinstance(loader, LoadRaster) and isinstance(loader.bands, list)
                own = color_order(loader.bands) if listed else 'rgb'
                self.by_position = own if isinstance(loader, LoadRaster) else None
            elif kind == 'Normalize':
                self.normalized = True
            # mmcv's Normalize and mmpretrain's way to Pillow and back swap bands, too
            for option, order in (('to_rgb', 'rgb'), ('to_bgr', 'bgr')):
                if _get(transform, option) and self.order == OTHER[order]:
                    self.order, self.by_position = order, OTHER.get(self.by_position or '')
                    break


def readings(loader: Any) -> list[Reading]:
    """Read the pipelines of a data loader, or of its config, through data sets that hold others."""
    return [] if loader is None else list(_pipelines(_get(loader, 'dataset')))


def loaded_order(loader: Any, dataset: Any) -> tuple[str | None, bool]:
    """Tell in which order a transform gives three bands, None where that is not known, and whether names tell it."""
    if isinstance(loader, LoadRaster):
        return _raster_order(loader, dataset)
    kind = type(loader)
    if isinstance(loader, mmcv.transforms.LoadImageFromFile) and kind.__module__.split('.')[0] in _LIBRARIES:
        return 'rgb' if loader.imdecode_backend == 'tifffile' else 'bgr', False
    return 'rgb' if kind.__name__ in _IN_FILE_ORDER else None, False


def _raster_order(loader: LoadRaster, dataset: Any) -> tuple[str | None, bool]:
    # of files with a band each, the data set says which come in which order
    files = _get(dataset, 'band_files') or _get(dataset, 'bands')
    named = _get(dataset, 'band_names') or {}  # by modality, of a data set that has looked at its files
    names = named.get(loader.modality or '', next(iter(named.values()), ()) if len(named) == 1 else ())
    return order_of_loaded(loader.bands, files, names)


def _flat(transforms: Sequence[Any]) -> Iterator[Any]:
    """Go through transforms and those inside of them: of branches, of random choices, of other libraries' wrappers."""
    for each in transforms:
        steps = getattr(each, 'transforms', each)  # mmcv's and mmengine's Compose hold a list
        if isinstance(each, list | tuple):
            yield from _flat(each)
            continue
        if callable(each) or (isinstance(each, dict) and 'type' in each):
            yield each
        mapped = (_get(each, 'mapping') or {}).get('img', 'img')
        if mapped != 'img' and not (isinstance(mapped, list | tuple) and 'img' in mapped):
            continue  # mmcv's wrappers give those inside another entry in the place of the image
        if isinstance(each, dict):
            yield from _flat([value for value in each.values() if isinstance(value, dict | list | tuple)])
        elif isinstance(steps, list | tuple):
            yield from _flat(steps)
        yield from _flat(list((getattr(each, 'branch_pipelines', None) or {}).values()))


def _pipelines(dataset: Any, after: Sequence[Any] = ()) -> Iterator[Reading]:
    if dataset is None:
        return
    pipeline = _get(dataset, 'pipeline')
    transforms = _get(pipeline, 'transforms') or pipeline
    inner = [_get(dataset, 'dataset'), *(_get(dataset, 'datasets') or ())]
    own = [*transforms, *after] if isinstance(transforms, list | tuple) else list(after)
    if isinstance(transforms, list | tuple) and not any(each is not None for each in inner):
        yield Reading(dataset, own)
    for each in inner:
        yield from _pipelines(each, own)


def _get(node: Any, key: str) -> Any:
    """Return an entry of a config, or an attribute of what was built from one."""
    return node.get(key) if isinstance(node, dict) else getattr(node, key, None)


def _name(transform: Any) -> str:
    kind = transform.get('type', '') if isinstance(transform, dict) else type(transform)
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def _built(transform: Any) -> Any:
    if not isinstance(transform, dict):
        return transform
    try:
        return TRANSFORMS.build(transform)
    except Exception:  # of an evaluation that is configured and never run; who runs it gets the error
        return None
