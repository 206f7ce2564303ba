"""Read the images below a folder, without labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.fileio import list_from_file
from mmpretrain.datasets import CustomDataset

from mmrs_ssl.datasets.samplers import sample_rng
from mmrs_ssl.datasets.unreadable import SkipCounter
from mmrs_ssl.rasters.access import access_to
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.find import IMAGE_SUFFIXES, RASTER_SUFFIXES
from mmrs_ssl.rasters.names import check_name
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
        allow_remote: read addresses (``/vsicurl/https://...``, ``/vsis3/...``) that a VRT names; by default nothing is
            asked for over the network.
        roots: folders outside of ``data_root`` in which the sources of a VRT may lie.
        **kwargs: of mmpretrain's ``CustomDataset``, e.g. ``ann_file`` with a list of images.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no image.
        ValueError: if the list has a name that leads out of the folder.
    """

    def __init__(
        self,
        data_root: str,
        pipeline: list,
        max_unreadable: float = 0.01,
        allow_remote: bool = False,
        roots: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        root = Path(data_root)
        hint = 'set it with --cfg-options data_root=FOLDER'
        if not root.is_dir():
            raise FileNotFoundError(f'data_root={data_root!r} is not a folder; {hint}')
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
        paths = (self.get_data_info(i)['img_path'] for i in range(len(self)))
        self.access = access_to([data_root], roots, allow_remote).with_files(paths)
        self.skips = SkipCounter(len(self), max_unreadable, 'images', 'train_dataloader.dataset.max_unreadable')

    def load_data_list(self) -> list[dict]:
        """List the images; the names of a list have to lead into the folder."""
        if self.ann_file:
            for line in list_from_file(self.ann_file):
                check_name(line, self.ann_file)
        return super().load_data_list()

    def __getitem__(self, idx: int) -> dict:
        """Return the sample of one image; of another one where that image is unreadable."""
        if idx < 0:
            idx += len(self)
        rng = sample_rng(idx)
        index = int(idx)
        while True:
            info = self.get_data_info(index)
            info.update(rng=rng, access=self.access)
            try:
                return self.pipeline(info)
            except UnreadableImageError as error:
                self.skips.note(index, error)
                index = int(rng.integers(len(self)))
