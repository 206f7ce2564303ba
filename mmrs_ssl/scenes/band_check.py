"""Check that files have the bands that a pipeline reads, and that they agree on what these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import mode
from typing import Any

from mmrs_ssl.rasters.agreement import compare_values, note_declared, refuse_other_bands, settle_alpha
from mmrs_ssl.rasters.bands import common_names
from mmrs_ssl.rasters.errors import OtherBandsError
from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.rasters.nodata import nodata_of, require_fill
from mmrs_ssl.scenes.files import SceneFile

Found = tuple[str, Header]  # a file's path and header


class BandAgreement:
    """Refuses a file that does not have the bands its loader takes, or others than most files have.

    Where files declare a band alpha, their loaders are told whether it is a mask.

    Args:
        loaders: what reads a modality's files (:class:`mmrs_ssl.LoadRaster`), '' for one that takes whatever there is.
        files: all files, of which the majority rules.
        headers: by path; other objects than headers are passed over.
        band_files: names of the bands that have a file each.

    Attributes:
        alpha: by modality, whether a band that is declared alpha is a mask in its files; None if nothing tells.
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
        self.alpha: dict[str, bool | None] = {}
        self.usual: dict[str, tuple[int, str]] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        for modality, loader in self.loaders.items():
            own = [(file, header) for file, header in found if file.modality == modality]
            pairs = [(file.path, header) for file, header in own]
            if loader is None:
                self.alpha[modality] = True
                continue
            self.alpha[modality] = settle_alpha(loader, pairs)
            number = len(band_files or ('',))
            outcomes, chosen = [], []
            for path, header in pairs:
                header = self.understood(modality, header)
                with suppress(OtherBandsError):
                    outcomes.append(loader.outcome(header, path, number))
                    chosen.append((header, loader.choose_of(header, path, number)))
            if outcomes:
                usual = self.usual[modality] = mode(outcomes)
                if loader.height != 'colors' and number == 1:
                    fitting = [each for each, outcome in zip(chosen, outcomes, strict=True) if outcome == usual]
                    self.names[modality] = common_names(fitting)
            if band_files:
                self.names[modality] = tuple(band_files)
            note_declared(loader, pairs)
            for band in dict.fromkeys(file.band for file, _ in own):
                same = [(file.path, self.understood(modality, header)) for file, header in own if file.band == band]
                compare_values(loader, same, number)
                refuse_other_bands(loader, same, number)

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
        require_fill(loader, header.dtype, path)
        usual = self.usual[modality]
        if bands != usual[0]:
            raise ValueError(f'{path} has {bands} bands, most files have {usual[0]}; choose with bands=')
        if dtype != usual[1]:
            raise ValueError(f'{path} is {header.dtype}, most files are {usual[1]}; stretch= brings all to 8 bits')
