"""All images below a folder, unlabelled."""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset

from mmrs_ssl.datasets.sampling import sample_rng
from mmrs_ssl.datasets.transforms.loading import IMAGE_SUFFIXES, RASTER_SUFFIXES, UnreadableImageError
from mmrs_ssl.registry import DATASETS


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """Every image below a folder, sub-folders included, without labels.

    A file that cannot be read is passed over: another image takes its place (chosen from the sample's own random
    stream), one warning names it, and when more than ``max_unreadable`` of the files are bad, loading stops. Each
    sample gets ``rng``, a generator that depends on (seed, epoch, index) only.

    Args:
        data_root: the folder.
        pipeline: transforms, ending in :class:`PackViews`.
        max_unreadable: allowed share of unreadable files, in [0, 1]; one file is always allowed unless it is 0.
        **kwargs: of mmpretrain's ``CustomDataset``, e.g. ``ann_file`` with a list of images.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no image.
    """

    def __init__(self, data_root: str, pipeline: list, max_unreadable: float = 0.01, **kwargs: Any) -> None:
        root = Path(data_root)
        hint = 'set it with --cfg-options data_root=FOLDER'
        if not root.is_dir():
            raise FileNotFoundError(f'data_root={data_root!r} is not a folder; {hint}')
        self.max_unreadable = max_unreadable
        try:
            super().__init__(
                data_root=data_root,
                pipeline=pipeline,
                with_label=False,
                extensions=IMAGE_SUFFIXES + RASTER_SUFFIXES,
                **kwargs,
            )
        except RuntimeError as error:  # mmpretrain: "Found 0 files"
            kinds = ' '.join(IMAGE_SUFFIXES + RASTER_SUFFIXES)
            raise FileNotFoundError(f'data_root={data_root!r} holds no image ({kinds}); {hint}') from error
        self.rank, self.processes = get_dist_info()
        # In shared memory, so that all workers of this process count together.
        self.unreadable = torch.zeros(len(self), dtype=torch.uint8).share_memory_()

    def __getitem__(self, idx: int) -> dict:
        """The sample of one image; of another one where that image is unreadable."""
        if idx < 0:
            idx += len(self)
        rng = sample_rng(idx)
        index = int(idx)
        while True:
            info = self.get_data_info(index)
            info['rng'] = rng
            try:
                return self.pipeline(info)
            except UnreadableImageError as error:
                self.note_unreadable(index, error)
                index = int(rng.integers(len(self)))

    def note_unreadable(self, index: int, error: UnreadableImageError) -> None:
        """Count an unreadable file and warn once about it.

        Raises:
            UnreadableImageError: when there are more of them than ``max_unreadable`` allows.
        """
        if self.unreadable[index]:
            return
        self.unreadable[index] = 1
        count, total = int(self.unreadable.sum()), len(self)
        # Each training process sees its share of the files and has its share of the allowance.
        allowed = min(math.ceil(self.max_unreadable * total / self.processes), total - 1)
        if count > allowed:
            raise UnreadableImageError(
                f'{count} of {total} images are unreadable, more than the {allowed} that max_unreadable='
                f'{self.max_unreadable} allows; the last one: {error}. Repair or remove them, or raise '
                'train_dataloader.dataset.max_unreadable'
            ) from error
        # mmengine shows only errors of processes other than the first.
        level = logging.ERROR if self.rank else logging.WARNING
        print_log(f'skipped unreadable image {count} (at most {allowed} of {total}): {error}', 'current', level)
