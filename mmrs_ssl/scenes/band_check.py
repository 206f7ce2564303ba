"""Check that files have the bands that a pipeline reads, and that they agree on what these are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import mode
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmrs_ssl.rasters.agreement import alpha_is_mask, refuse_contradictions
from mmrs_ssl.rasters.bands import names_of
from mmrs_ssl.rasters.errors import OtherBandsError
from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.rasters.nodata import holds, nodata_of
from mmrs_ssl.scenes.files import SceneFile

Found = tuple[str, Header]  # a file's path and header


class BandAgreement:
    """Refuses a file that does not have the bands its loader takes, or others than most files have.

    Args:
        loaders: what reads a modality's files (:class:`mmrs_ssl.LoadRaster`), '' for one that takes whatever there is.
        files: all files, of which the majority rules.
        headers: by path; other objects than headers are passed over.
        band_files: names of the bands that have a file each.

    Attributes:
        alpha: by modality, whether a band that is declared alpha is a mask in its files.
        names: by modality, what the bands are called that are loaded, as far as a file says; '' where it does not.

    Raises:
        OtherBandsError: if files contradict each other in the names or colors of their bands.
    """

    def __init__(
        self,
        loaders: Mapping[str, Any],
        files: Sequence[SceneFile],
        headers: Mapping[str, object],
        band_files: Sequence[str] | None = None,
    ) -> None:
        found = [(file, header) for file in files if isinstance(header := headers[file.path], Header)]
        modalities = dict.fromkeys(file.modality for file, _ in found)
        self.loaders = {
            name: loaders.get(name, loaders.get('') if len(modalities) == 1 else None) for name in modalities
        }
        self.alpha: dict[str, bool] = {}
        self.usual: dict[str, tuple[int, str]] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        for modality, loader in self.loaders.items():
            own = [(file, header) for file, header in found if file.modality == modality]
            pairs = [(file.path, header) for file, header in own]
            self.alpha[modality] = _settle_alpha(pairs, loader)
            if loader is None:
                continue
            number = len(band_files or ('',))
            if band_files:
                self.names[modality] = tuple(band_files)
            outcomes = []
            for path, header in pairs:
                header = self.understood(modality, header)
                with suppress(OtherBandsError):
                    outcomes.append(loader.outcome(header, path, number))
                    if number == 1 and loader.height != 'colors':
                        self.names.setdefault(modality, names_of(header, loader.choose_of(header, path)))
            if outcomes:
                self.usual[modality] = mode(outcomes)
            _note_declared(pairs, loader)
            if not loader.ignore_names:
                for band in dict.fromkeys(file.band for file, _ in own):
                    same = [(file.path, self.understood(modality, header)) for file, header in own if file.band == band]
                    _refuse_contradictions(same, loader, number)

    def understood(self, modality: str, header: Header) -> Header:
        """Return a header in which it is settled whether alpha is a mask."""
        return header if header.alpha is None else header._replace(mask=self.alpha[modality])

    def __call__(self, modality: str, header: Header, path: str, number: int) -> None:
        """Check a modality's file, one of so many that make an image.

        Raises:
            ValueError: if it does not fit.
        """
        loader = self.loaders.get(modality)
        if loader is None:
            return
        if header.dtype.startswith('complex'):
            raise ValueError(f'{path} is {header.dtype}: complex numbers are not supported; take amplitude or phase')
        bands, dtype = loader.outcome(self.understood(modality, header), path, number)
        nodata_of(header.nodata, [header.dtype] * len(header.nodata), loader.marks, path)
        usual = self.usual[modality]
        if bands != usual[0]:
            raise ValueError(f'{path} has {bands} bands, most files have {usual[0]}; choose with bands=')
        if dtype != usual[1]:
            raise ValueError(f'{path} is {header.dtype}, most files are {usual[1]}; stretch= brings all to 8 bits')


def _settle_alpha(files: Sequence[Found], loader: Any) -> bool:
    """Settle for all files of a modality whether a band that is declared alpha is a mask."""
    if loader is None:
        return True
    declared = [path for path, header in files if header.alpha is not None]
    every = all(loader.bands == len(header.names) for _, header in files if header.alpha is not None)
    mask, note = alpha_is_mask(files, loader.marks.alpha, every and bool(declared))
    if mask and declared and loader.bands is None:
        note = (
            f'{len(declared)} files declare a band alpha, {declared[0]} among them: it masks the others, uncounted. '
            'If it is data, give the number of all bands: train_dataloader.dataset.pipeline.0.bands=...'
        )
    if note:
        print_log(note, 'current', logging.WARNING)
    return mask


def _note_declared(files: Sequence[Found], loader: Any) -> None:
    """Warn where files declare another value than the one that an option gives in its place."""
    value = loader.marks.value
    if value is None or value == 'none':
        return
    others = [
        (path, kept)
        for path, header in files
        if (kept := [v for v in header.nodata if v is not None and not holds(np.array(v), float(value))])
    ]
    if others:
        print_log(
            f'{len(others)} of {len(files)} files declare another value than nodata={value:g}, e.g. {others[0][0]}: '
            f'{others[0][1][0]:g}, which is data now; leave nodata out where files declare it',
            'current',
            logging.WARNING,
        )


def _refuse_contradictions(files: Sequence[Found], loader: Any, number: int) -> None:
    if isinstance(loader.bands, list) and all(isinstance(band, str) for band in loader.bands):
        return
    chosen = []
    for path, header in files:
        with suppress(OtherBandsError):
            chosen.append((path, header, loader.choose_of(header, path, number)))
    refuse_contradictions(chosen, "bands=['red', ...]")
