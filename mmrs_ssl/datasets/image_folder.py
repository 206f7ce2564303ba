"""Read the images below folders, without labels."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.fileio import list_from_file
from mmpretrain.datasets import CustomDataset

from mmrs_ssl.datasets.samplers import sample_rng
from mmrs_ssl.datasets.transforms.loading import loaders_of
from mmrs_ssl.options import SHARE, check_names, check_numbers, check_switches
from mmrs_ssl.rasters.access import access_to, check_root, fixed_folder
from mmrs_ssl.rasters.errors import OtherBandsError, UnreadableImageError
from mmrs_ssl.rasters.find import IMAGE_SUFFIXES, RASTER_SUFFIXES, find_images, leave_out
from mmrs_ssl.rasters.folder import sort_out
from mmrs_ssl.rasters.names import check_name
from mmrs_ssl.rasters.tolerance import refuse_or_warn
from mmrs_ssl.rasters.unreadable import SkipCounter
from mmrs_ssl.registry import DATASETS

_LIMIT = 'train_dataloader.dataset.max_unreadable'


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """Every image below one or several folders, sub-folders included, without labels.

    Headers are read at the start: what the pipeline's :class:`LoadRaster` cannot load, or loads with other bands or of
    another type than most images, is left out, which one warning tells. A file that turns out unreadable is passed
    over: another image takes its place (chosen from the sample's own random stream), and one warning names it. When
    more than ``max_unreadable`` of the files are bad in these ways, loading stops. Each sample gets ``rng``, a
    generator that depends on (seed, epoch, index) only.

    Args:
        data_root: folder, glob pattern (``'a/**/*.png'``) or file, or a list of them. Links to folders are followed.
        pipeline: transforms, ending in :class:`PackViews`.
        exclude: glob patterns of what to leave out, relative to the root, e.g. ``'label/*'`` or ``'**/*_mask.png'``.
        max_unreadable: allowed share of bad files, in [0, 1]; one file is always allowed unless it is 0.
        allow_remote: read addresses (``/vsicurl/https://...``, ``/vsis3/...``) that a VRT names; by default nothing is
            asked for over the network.
        roots: folders outside of ``data_root`` in which the sources of a VRT may lie.
        cache_dir: where headers of rasters are kept; ``~/.cache/mmrs_ssl`` by default.
        **kwargs: of mmpretrain's ``CustomDataset``, e.g. ``ann_file`` with a list of images of one folder.

    Raises:
        FileNotFoundError: if a folder does not exist or holds no image.
        ValueError: if too many images do not fit, they are complex or cannot hold ``nodata``, or the list has a name
            that leads out of the folder.
    """

    def __init__(
        self,
        data_root: str | Sequence[str],
        pipeline: list,
        max_unreadable: float = 0.01,
        allow_remote: bool = False,
        roots: Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_numbers(self, SHARE, max_unreadable=max_unreadable)
        check_switches(self, allow_remote=allow_remote)
        check_names(self, roots=roots, exclude=[exclude] if isinstance(exclude, str) else exclude)
        check_root(self, data_root, several=True)
        several = [data_root] if isinstance(data_root, str) else list(data_root)
        listed = kwargs.get('ann_file') or kwargs.get('data_prefix')
        if listed and (len(several) > 1 or not Path(several[0]).is_dir()):
            raise ValueError(f'data_root={data_root!r}; expected a folder; several without ann_file, data_prefix')
        self.sources, self.exclude, self.cache_dir = (None if listed else several), exclude, cache_dir
        self.access = access_to(several, roots, allow_remote)
        self.max_unreadable, self.left_out = max_unreadable, 0
        self.band_names: dict[str, tuple[str, ...]] = {}  # what files call the bands that are loaded, as a SceneDataset
        kinds, base = IMAGE_SUFFIXES + RASTER_SUFFIXES, str(fixed_folder(Path(several[0])))
        super().__init__(data_root=base, pipeline=pipeline, with_label=False, extensions=kinds, **kwargs)
        self.skips = SkipCounter(len(self), max_unreadable, 'images', _LIMIT, left_out=self.left_out)

    def load_data_list(self) -> list[dict]:
        """List the images that fit; the names of a list have to lead into the folder."""
        if self.ann_file:
            names = [check_name(line, self.ann_file) for line in list_from_file(self.ann_file)]
            paths = [os.path.join(self.img_prefix, name) for name in leave_out(names, self.exclude, self.ann_file)]
        else:
            paths = find_images(self.sources or self.img_prefix, self.exclude)
        self.access = self.access.with_files(paths)
        loaders = list(loaders_of(self.pipeline.transforms).values())
        found = sort_out(paths, loaders, self.access, self.cache_dir)
        self.left_out, self.band_names = len(found.left_out), found.band_names(loaders)
        error = UnreadableImageError if len(found.unreadable) == self.left_out else ValueError
        limits = len(paths), self.max_unreadable, 'images', _LIMIT
        refuse_or_warn(list(found.left_out), *limits, error, found.explain(loaders) if found.left_out else '')
        return [dict(img_path=path) for path in found.kept]

    def __getitem__(self, idx: int) -> dict:
        """Return the sample of one image; of another one where that image is unreadable or does not fit."""
        if idx < 0:
            idx += len(self)
        rng = sample_rng(idx)
        index = int(idx)
        while True:
            info = self.get_data_info(index)
            info.update(rng=rng, access=self.access)
            try:
                return self.pipeline(info)
            except (UnreadableImageError, OtherBandsError) as error:
                self.skips.note(index, error)
                index = int(rng.integers(len(self)))
