"""Read OSCD: Sentinel-2 pairs with labelled change, for which open-cd has no data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from mmengine.dataset import BaseDataset

from mmrs_ssl.rasters.names import check_name
from mmrs_ssl.rasters.opening import check_sizes
from mmrs_ssl.registry import DATASETS

BANDS = ('B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B10', 'B11', 'B12')
FOLDER_PREFIX = 'Onera Satellite Change Detection dataset - '


@DATASETS.register_module()
class OSCDDataset(BaseDataset):
    """The cities of the Onera Satellite Change Detection data set (Daudt et al., IGARSS 2018), as it is unpacked.

    One sample is a city at two dates, of which :class:`LoadRaster` reads the chosen bands; open-cd's own transforms
    read the label and do the rest.

    Args:
        data_root: the folder with the three unpacked archives, ``Onera Satellite Change Detection dataset - Images``,
            ``... - Train Labels`` and ``... - Test Labels``.
        split: ``'train'`` (14 cities) or ``'test'`` (10).
        bands: names of Sentinel-2's bands, in the order in which the model takes them.
        pipeline: begins with :class:`LoadRaster`; the files hold reflectance times 10000 (uint16).

    Raises:
        ValueError: for another split, an unknown band, a city's name that is no folder's, or a label that has not its
            images' size.
        FileNotFoundError: if a city's label or one of its bands is missing.
    """

    METAINFO: ClassVar[dict] = dict(classes=('unchanged', 'changed'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(self, data_root: str, split: str, pipeline: list, bands: Sequence[str] = BANDS) -> None:
        if split not in ('train', 'test'):
            raise ValueError(f"split={split!r}, expected 'train' or 'test'")
        if unknown := [band for band in bands if band not in BANDS]:
            raise ValueError(f'bands={tuple(bands)!r}: {unknown[0]!r} is none of {", ".join(BANDS)}')
        self.split = split
        self.bands = tuple(bands)
        super().__init__(data_root=data_root, pipeline=pipeline, test_mode=split == 'test')

    def load_data_list(self) -> list[dict]:
        """List the files of every city, with what open-cd's ``MultiImgLoadAnnotations`` wants to know."""
        images = Path(self.data_root, f'{FOLDER_PREFIX}Images')
        labels = Path(self.data_root, f'{FOLDER_PREFIX}{self.split.title()} Labels')
        listed = images / f'{self.split}.txt'
        if not listed.is_file():
            raise FileNotFoundError(f'{listed} is missing; expected the unpacked archives of OSCD in data_root')
        found = []
        for city in (check_name(name.strip(), listed, folders=False) for name in listed.read_text().split(',')):
            dates = [
                tuple(str(images / city / f'imgs_{date}_rect' / f'{band}.tif') for band in self.bands)
                for date in (1, 2)
            ]
            label = labels / city / 'cm' / 'cm.png'
            for path in map(Path, (*dates[0], *dates[1], str(label))):
                if not path.is_file():
                    raise FileNotFoundError(f'{path} is missing: is the archive complete and fully unpacked?')
            check_sizes(str(label), *(date[0] for date in dates))
            found.append(
                dict(
                    img_path=[str(Path(date[0]).parent) for date in dates],
                    layers={'sentinel2': dates},
                    seg_map_path=str(label),
                    format_seg_map='to_binary',
                    label_map=None,
                    reduce_zero_label=False,
                    seg_fields=[],
                )
            )
        return found
