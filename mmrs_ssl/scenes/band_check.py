"""Check that files have the bands that a pipeline reads."""

import logging
from collections.abc import Mapping, Sequence
from statistics import mode
from typing import Any

from mmengine.logging import print_log

from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.scenes.dates import BandCheck
from mmrs_ssl.scenes.files import SceneFile


def band_check(loaders: Mapping[str, Any], files: Sequence[SceneFile], headers: Mapping[str, object]) -> BandCheck:
    """Make a check that a file has the bands its loader takes, and the type (and number of bands) of most files.

    Args:
        loaders: what reads a modality's files (:class:`mmrs_ssl.LoadRaster`), '' for one that takes whatever there is.
        files: all files, of which the majority rules.
        headers: by path; other objects than headers are passed over.

    Returns:
        A function that raises ValueError for a file that does not fit.
    """
    found = [(file, header) for file in files if isinstance(header := headers[file.path], Header)]
    modalities = {file.modality for file, _ in found}
    usual: dict[str, Any] = {
        modality: mode((len(header.names), header.dtype) for file, header in found if file.modality == modality)
        for modality in modalities
    }
    masked = [file.path for file, header in found if header.alpha is not None]
    if masked and any(loader.bands is None for loader in loaders.values()):
        print_log(
            f'{len(masked)} files declare a band alpha, {masked[0]} among them: it masks the others, uncounted. '
            'If it is data, give the number of all bands: train_dataloader.dataset.pipeline.0.bands=...',
            'current',
            logging.WARNING,
        )

    def check(modality: str, header: Header, path: str, number: int) -> None:
        loader = loaders.get(modality, loaders.get('') if len(modalities) == 1 else None)
        if loader is None:
            return
        loader.choose_of(header, path, number)
        if header.dtype.startswith('complex'):
            raise ValueError(f'{path} is {header.dtype}: complex numbers are not supported; take amplitude or phase')
        bands, dtype = usual[modality]
        if loader.bands is None and len(header.names) != bands:
            raise ValueError(f'{path} has {len(header.names)} bands, most files have {bands}; choose with bands=')
        if header.dtype != dtype and loader.stretch is None and not loader.unscale:
            raise ValueError(f'{path} is {header.dtype}, most files are {dtype}; stretch= brings all to 8 bits')

    return check
