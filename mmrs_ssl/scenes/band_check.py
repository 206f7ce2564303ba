"""Check that files have the bands that a pipeline reads, and that they agree on what these are."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from statistics import mode
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import print_log

from mmrs_ssl.rasters.bands import contradiction
from mmrs_ssl.rasters.errors import OtherBandsError
from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.rasters.nodata import holds, nodata_of
from mmrs_ssl.scenes.files import SceneFile

_SHOWN = 3  # files of each kind, in messages

Found = tuple[SceneFile, Header]


class BandCheck:
    """Refuses a file that does not have the bands its loader takes, or others than most files have.

    Args:
        loaders: what reads a modality's files (:class:`mmrs_ssl.LoadRaster`), '' for one that takes whatever there is.
        files: all files, of which the majority rules.
        headers: by path; other objects than headers are passed over.

    Attributes:
        alpha: by modality, whether a band that is declared alpha is a mask in its files.

    Raises:
        OtherBandsError: if files contradict each other in the names or colors of their bands.
    """

    def __init__(
        self, loaders: Mapping[str, Any], files: Sequence[SceneFile], headers: Mapping[str, object]
    ) -> None:
        found = [(file, header) for file in files if isinstance(header := headers[file.path], Header)]
        modalities = dict.fromkeys(file.modality for file, _ in found)
        self.loaders = {
            modality: loaders.get(modality, loaders.get('') if len(modalities) == 1 else None) for modality in modalities
        }
        self.alpha = {}
        self.usual: dict[str, Any] = {}
        self.number = {}
        for modality, loader in self.loaders.items():
            own = [(file, header) for file, header in found if file.modality == modality]
            self.number[modality] = 
            self.alpha[modality] = alpha_is_mask([header for _, header in own], loader)
            if loader is None:
                continue
            ...
