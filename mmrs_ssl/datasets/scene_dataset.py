"""Read windows of large rasters, of several modalities and dates, as training samples."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmrs_ssl.datasets.samplers import sample_rng
from mmrs_ssl.datasets.transforms.loading import loaders_of
from mmrs_ssl.options import COUNT, POSITIVE, SHARE, WHOLE, check_choice, check_names, check_numbers
from mmrs_ssl.rasters.access import access_to, check_root
from mmrs_ssl.rasters.errors import NoDataError, UnreadableImageError
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.rasters.header_cache import read_headers
from mmrs_ssl.rasters.photometry import Scale, check_scales
from mmrs_ssl.rasters.tolerance import refuse_or_warn
from mmrs_ssl.rasters.unreadable import SkipCounter
from mmrs_ssl.registry import DATASETS
from mmrs_ssl.scenes.band_check import BandAgreement
from mmrs_ssl.scenes.catalog import make_scenes
from mmrs_ssl.scenes.dates import Demands
from mmrs_ssl.scenes.files import find_scene_files
from mmrs_ssl.scenes.index import Scene
from mmrs_ssl.scenes.placing import SceneError
from mmrs_ssl.scenes.search import DataSearch
from mmrs_ssl.scenes.window_plan import WindowPlan

BandScale = Scale | Mapping[str, Scale | None] | None


@DATASETS.register_module()
class SceneDataset(BaseDataset):
    """Windows of scenes. The index is built from headers alone; pixels are read by the pipeline, window by window.

    A sample's window, date and augmentation depend on (seed, epoch, index) only. A window with too little data, or one
    that cannot be read, is replaced by another one, drawn from the sample's own random stream.

    Args:
        data_root: folder, glob pattern, one raster, or a list (.csv, .json): see :mod:`mmrs_ssl.scenes.files`.
        pipeline: transforms that begin with ``LoadRaster`` or ``LoadModalities``.
        files: the rule that tells scene, date and band from a path, or one per modality. By default every file is a
            scene.
        band_files: names of the bands to stack where every band is a file of its own.
        window: side of a window, in pixels of the scene's grid or metres.
        stride: distance of windows; ``window`` by default. With random windows it only sets the length of an epoch.
        unit: ``'pixels'`` or ``'metres'`` on the ground, in the center of the scene, whatever units its CRS has: see
            :func:`mmrs_ssl.rasters.ground.ground_sample_distance`.
        sampling: ``'grid'`` (every window once, the last of a row moved inwards) or ``'random'`` (uniform places,
            scenes in proportion to how many windows fit in them).
        windows_per_epoch: for random windows; default: as many as fit side by side.
        dates: how many dates to draw, with replacement; with more than one, ``img`` becomes a list of images.
        min_dates: scenes with fewer dates are not used, nor windows that fewer dates cover.
        max_nodata: largest share of empty pixels of a window, in [0, 1].
        max_value: the value of white for photometric transforms, where the pixels are not 8 bits: a number, one per
            band that is loaded, or either by modality.
        band_spread: the deviation within a patch that noise is measured by, likewise; by default it is by white.
        crs: the CRS all rasters must be in, e.g. ``'EPSG:25832'``, or ``'same'`` (the most frequent); by default every
            scene keeps its own, and rasters of one scene are brought to one grid.
        max_bad: allowed share of scenes that cannot be used and of windows that cannot be read; they are passed over
            with a counted warning. One is always allowed unless it is 0.
        cache_dir: where headers are kept between runs.
        grid: the modality or band on whose grid windows lie; by default, of all files of a scene, the one with the
            smallest pixels on the ground.
        extent: where windows of a place of several dates lie: in the ``'union'`` of what they cover, each window with
            the dates that cover it; in their ``'intersection'``; or in what one date, named here, covers. Dates that
            do not fit the others are left out with a counted warning.
        allow_remote: read addresses (``https://...``, ``s3://...``, ``/vsicurl/...``) that ``data_root``, a list or a
            VRT names; by default nothing is asked for over the network.
        roots: folders outside of ``data_root`` in which the files of a list, and the sources of a VRT that lies in
            ``data_root``, may lie. A VRT that is itself ``data_root`` may have its sources anywhere on this machine.

    Raises:
        FileNotFoundError: if ``data_root`` holds nothing.
        SceneError: if more scenes than allowed cannot be used.
    """

    def __init__(
        self,
        data_root: str,
        pipeline: list,
        files: str | Mapping[str, str] = '{scene}',
        band_files: Sequence[str] | None = None,
        window: float = 256,
        stride: float | None = None,
        unit: str = 'pixels',
        sampling: str = 'random',
        windows_per_epoch: int | None = None,
        dates: int = 1,
        min_dates: int = 1,
        max_nodata: float = 0.5,
        max_value: BandScale = None,
        band_spread: BandScale = None,
        crs: str | None = None,
        max_bad: float = 0.01,
        cache_dir: str | None = None,
        grid: str | None = None,
        extent: str = 'union',
        allow_remote: bool = False,
        roots: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        check_choice('unit', unit, ('pixels', 'metres'))
        check_choice('sampling', sampling, ('grid', 'random'))
        check_numbers(self, POSITIVE, window=window, stride=window if stride is None else stride)
        check_numbers(self, WHOLE, min_dates=min_dates)
        check_numbers(self, SHARE, max_nodata=max_nodata, max_bad=max_bad)
        check_numbers(self, COUNT, dates=dates, windows_per_epoch=1 if windows_per_epoch is None else windows_per_epoch)
        check_names(self, roots=roots, band_files=band_files or ())
        check_scales(self, max_value=max_value, band_spread=band_spread)
        check_root(self, data_root)
        if windows_per_epoch is not None and sampling == 'grid':
            raise ValueError("windows_per_epoch is for sampling='random'; a grid has as many windows as it has")
        self.files = dict(files) if isinstance(files, Mapping) else files
        self.band_files = band_files
        self.window, self.stride, self.unit = window, stride or window, unit
        self.sampling = sampling
        self.windows_per_epoch = windows_per_epoch
        self.dates, self.min_dates = dates, min_dates
        self.max_nodata = max_nodata
        self.max_value, self.band_spread = max_value, band_spread
        self.crs = crs
        self.max_bad = max_bad
        self.cache_dir = cache_dir
        self.grid, self.extent = grid, extent
        self.access = access_to([data_root], roots=roots, remote=allow_remote)
        # mmengine would join a prefix to the root with the client that it has for its kind of address, if any.
        super().__init__(data_root=data_root, pipeline=pipeline, **{'data_prefix': {}, **kwargs})

    def full_init(self) -> None:
        """Build the index and the plan of windows, once."""
        if self._fully_initialized:
            return
        super().full_init()
        scenes = [self.scene(i) for i in range(super().__len__())]
        random = self.sampling == 'random'
        self.plan = WindowPlan(scenes, self.window, self.stride, self.unit, random, self.min_dates)
        self.loaders = loaders_of(self.pipeline.transforms)
        self.search = DataSearch(self.plan, self.scene, self.loaders, self.access, self.max_nodata)
        option = 'train_dataloader.dataset.max_bad'
        self.skipped_windows = SkipCounter(len(self.plan), self.max_bad, 'windows', option, len(scenes))
        self.skipped_scenes = SkipCounter(len(scenes), self.max_bad, 'scenes', option)
        unit = f'{self.window:g} {self.unit}'
        print_log(f'{len(scenes)} scenes, {len(self)} windows of {unit} per epoch ({self.sampling})', 'current')

    def load_data_list(self) -> list[dict]:
        """Find the scenes that can be used.

        Raises:
            SceneError: if there are too many others.
        """
        files = find_scene_files(self.data_root, self.files, self.access)
        if self.band_files is not None:
            files = [file for file in files if file.band in self.band_files]
            if not files:
                raise ValueError(f'no file of data_root={self.data_root!r} is one of band_files={self.band_files}')
        paths = [file.path for file in files]
        self.access = self.access.with_files(paths)
        headers = read_headers(paths, self.cache_dir, self.access)
        modalities = tuple(self.files) if isinstance(self.files, dict) else dict.fromkeys(f.modality for f in files)
        if self.dates > 1 and len(modalities) > 1:
            raise ValueError(f'dates={self.dates} of several modalities ({", ".join(modalities)}) are not supported')
        self.agreement = BandAgreement(loaders_of(self.pipeline.transforms), files, headers, self.band_files)
        demands = Demands(
            tuple(modalities),
            self.band_files,
            self.min_dates,
            self.crs,
            self.agreement,
            self.grid,
            self.extent,
            self.window,
            self.unit,
        )
        scenes, problems, total = make_scenes(files, headers, demands)
        refuse_or_warn(problems, total, self.max_bad, 'scenes', 'train_dataloader.dataset.max_bad', SceneError)
        return [dict(scene=scene) for scene in scenes]

    def scene(self, number: int) -> Scene:
        """Return a scene of the index."""
        return self.get_data_info(number)['scene']

    @property
    def band_names(self) -> dict[str, tuple[str, ...]]:
        """Return what the bands are called that are loaded, by modality; '' where files do not say."""
        self.full_init()
        return self.agreement.names

    def __len__(self) -> int:
        """Count the windows of an epoch."""
        self.full_init()
        return self.windows_per_epoch or len(self.plan)

    def __getitem__(self, idx: int) -> dict:
        """Return the sample of one window, or of another where it cannot be used."""
        self.full_init()
        if idx < 0:
            idx += len(self)
        if not 0 <= idx < len(self):
            raise IndexError(f'sample {idx} of {len(self)}')
        rng = sample_rng(idx)
        # with random windows an epoch goes through the archive's area in even steps
        plan = self.plan
        number = int((int(idx) + rng.random()) * len(plan) / len(self)) if plan.random else int(idx)
        first = plan.scene_of(number)
        if (sample := self.draw(int(idx), first, number, rng)) is not None:
            return sample
        for scene in rng.permutation(len(plan.ends)):
            if scene != first and (sample := self.draw(int(idx), int(scene), None, rng)) is not None:
                return sample
        raise NoDataError(f'no window of {len(plan.ends)} scenes can be used; raise max_nodata (now {self.max_nodata})')

    def draw(self, idx: int, scene: int, number: int | None, rng: np.random.Generator) -> dict | None:
        """Return the sample of a window of a scene, or None if none of its windows can be used.

        Tries the window of this number if there is one, then some drawn anew, then all of the scene's grid. Where that
        has more than 1000 windows, the scene is first searched for those with data, which reads its pixels once and
        takes seconds for a sparse file, minutes for tens of gigapixels; 1000 of them are tried.
        """
        own = np.random.default_rng(rng.integers(2**63))  # what comes next does not depend on how often this draws
        if self.skipped_scenes.bad[scene]:
            return None
        places = partial(self.search.corners, scene) if self.loaders else None
        for tried, window in enumerate(self.plan.candidates(scene, number, own, places), 1):
            try:
                return self.pipeline(self.sample_info(idx, scene, window, own))
            except UnreadableImageError as error:
                last = f'{tried} were tried); the last one: {error}'
                if not isinstance(error, NoDataError):
                    self.skipped_windows.note(self.plan.number_of(scene, window), error, scene)
        searched = scene in self.search.found
        full = f'{len(self.search.corners(scene))} of its grid hold enough data, ' if searched else ''
        self.skipped_scenes.note(scene, NoDataError(f'none of its windows can be used ({full}{last}'))
        return None

    def sample_info(self, idx: int, number: int, window: Window, rng: np.random.Generator) -> dict:
        """Describe a window for the pipeline: files and dates by modality, grid, generator and limits."""
        scene = self.scene(number)
        dates = scene.dates_at(window)
        drawn = [dates[i] for i in rng.integers(len(dates), size=self.dates)]
        layers = {modality: [files[date] for date in drawn] for modality, files in scene.layers.items()}
        return dict(
            img_path=next(iter(layers.values()))[0][0],
            sample_idx=idx,
            scene=scene.name,
            layers=layers,
            dates=drawn,
            window=window,
            grid=scene.grid,
            shape=scene.shape,
            rng=rng,
            max_nodata=self.max_nodata,
            max_value=self.max_value,
            band_spread=self.band_spread,
            access=self.access,
        )
