"""Windows of large rasters, of several modalities and dates, as training samples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmrs_ssl.datasets.headers import read_headers
from mmrs_ssl.datasets.raster import Header, UnreadableImageError, Window
from mmrs_ssl.datasets.sampling import sample_rng
from mmrs_ssl.datasets.scene_checks import band_check
from mmrs_ssl.datasets.scene_files import find_scene_files
from mmrs_ssl.datasets.scene_index import Demands, Scene, SceneError, describe_crs, group_files, make_scene, most_common
from mmrs_ssl.datasets.skipping import SkipCounter, refuse_or_warn
from mmrs_ssl.datasets.transforms.loading import NoDataError
from mmrs_ssl.registry import DATASETS

_DRAWS = 20  # windows drawn of a scene before all of it is gone through


@DATASETS.register_module()
class SceneDataset(BaseDataset):
    """Windows of scenes. The index is built from headers alone; pixels are read by the pipeline, window by window.

    A sample's window, date and augmentation depend on (seed, epoch, index) only. A window with too little data, or one
    that cannot be read, is replaced by another one, drawn from the sample's own random stream.

    Args:
        data_root: folder, glob pattern, one raster, or a list (.csv, .json): see :mod:`mmrs_ssl.datasets.scene_files`.
        pipeline: transforms that begin with ``LoadRaster`` or ``LoadModalities``.
        files: the rule that tells scene, date and band from a path, or one per modality; the first modality's grid is
            the scene's. Default: every file is a scene.
        band_files: names of the bands to stack where every band is a file of its own.
        window: side of a window, in pixels of the scene's grid or metres.
        stride: distance of windows; ``window`` by default. With random windows it only sets the length of an epoch.
        unit: ``'pixels'`` or ``'metres'`` (needs a projected CRS).
        sampling: ``'grid'`` (every window once, the last of a row moved inwards) or ``'random'`` (uniform places,
            scenes in proportion to how many windows fit in them).
        windows_per_epoch: for random windows; default: as many as fit side by side.
        dates: how many dates to draw, with replacement; with more than one, ``img`` becomes a list of images.
        min_dates: scenes with fewer dates are not used.
        max_nodata: largest share of empty pixels of a window, in [0, 1].
        max_value: the value of white for photometric transforms, where the pixels are not 8 bits.
        crs: the CRS all rasters must be in, e.g. ``'EPSG:25832'``, or ``'same'`` (the most frequent); by default every
            scene keeps its own, and rasters of one scene are brought to that of its first.
        max_bad: allowed share of scenes that cannot be used and of windows that cannot be read; they are passed over
            with a counted warning. One is always allowed unless it is 0.
        cache_dir: where headers are kept between runs.

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
        max_value: float | None = None,
        crs: str | None = None,
        max_bad: float = 0.01,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        _check_choice('unit', unit, ('pixels', 'metres'))
        _check_choice('sampling', sampling, ('grid', 'random'))
        if window <= 0 or (stride is not None and stride <= 0) or dates < 1:
            raise ValueError(f'window={window}, stride={stride} and dates={dates} must be positive')
        if not (0 <= max_nodata <= 1 and 0 <= max_bad <= 1) or (
            windows_per_epoch is not None and windows_per_epoch < 1
        ):
            raise ValueError(
                f'max_nodata={max_nodata} and max_bad={max_bad} are shares in [0, 1], windows_per_epoch='
                f'{windows_per_epoch} is at least 1'
            )
        if windows_per_epoch is not None and sampling == 'grid':
            raise ValueError("windows_per_epoch is for sampling='random'; a grid has as many windows as it has")
        self.files = dict(files) if isinstance(files, Mapping) else files
        self.band_files = band_files
        self.window, self.stride, self.unit = window, stride or window, unit
        self.sampling = sampling
        self.windows_per_epoch = windows_per_epoch
        self.dates, self.min_dates = dates, min_dates
        self.max_nodata = max_nodata
        self.max_value = max_value
        self.crs = crs
        self.max_bad = max_bad
        self.cache_dir = cache_dir
        super().__init__(data_root=data_root, pipeline=pipeline, **kwargs)

    def full_init(self) -> None:
        """Build the index."""
        if self._fully_initialized:
            return
        super().full_init()
        scenes = [Scene(**self.get_data_info(i)['fields']) for i in range(super().__len__())]
        self.extents = np.array([scene.extent for scene in scenes], np.int64)  # (S, 4) top, left, height, width
        self.sides = np.array([self.in_pixels(scene, self.window) for scene in scenes], np.int64)  # (S, 2)
        steps = np.array([self.in_pixels(scene, self.stride) for scene in scenes], np.int64)
        self.steps = np.maximum(steps, 1)
        if self.sampling == 'grid':  # the last window of a row or column is moved inwards to end with the scene
            self.counts = -(-(self.extents[:, 2:] - self.sides) // self.steps) + 1
        else:
            self.counts = np.maximum(np.rint(self.extents[:, 2:] / self.steps).astype(np.int64), 1)
        self.ends = np.cumsum(self.counts.prod(axis=1))
        option = 'train_dataloader.dataset.max_bad'
        self.skipped_windows = SkipCounter(int(self.ends[-1]), self.max_bad, 'windows', option)
        self.skipped_scenes = SkipCounter(len(scenes), self.max_bad, 'scenes', option)
        unit = f'{self.window:g} {self.unit}'
        print_log(f'{len(scenes)} scenes, {len(self)} windows of {unit} per epoch ({self.sampling})', 'current')

    def load_data_list(self) -> list[dict]:
        """The scenes that can be used.

        Raises:
            SceneError: if there are too many others.
        """
        files = find_scene_files(self.data_root, self.files)
        if self.band_files is not None:
            files = [file for file in files if file.band in self.band_files]
            if not files:
                raise ValueError(f'no file of data_root={self.data_root!r} is one of band_files={self.band_files}')
        headers = read_headers([file.path for file in files], self.cache_dir)
        modalities = (
            tuple(self.files) if isinstance(self.files, dict) else tuple(dict.fromkeys(f.modality for f in files))
        )
        if self.dates > 1 and len(modalities) > 1:
            raise ValueError(f'dates={self.dates} of several modalities ({", ".join(modalities)}) are not supported')
        found = [header for header in headers.values() if isinstance(header, Header)]
        crs = self.crs
        if crs == 'same':
            known = [header.grid.crs for header in found if header.grid.crs]
            crs = str(most_common(known)) if known else ''
        demands = Demands(
            modalities, self.band_files, self.min_dates, crs, band_check(self.pipeline.transforms, files, headers)
        )
        scenes, problems = [], []
        groups = group_files(files)
        for name, group in groups.items():
            try:
                scene = make_scene(name, group, headers, demands)
                self.check_window(scene)
                scenes.append(dict(fields=scene._asdict()))
            except SceneError as error:
                problems.append(f'scene {name!r} {error}')
        refuse_or_warn(problems, len(groups), self.max_bad, 'scenes', 'train_dataloader.dataset.max_bad', SceneError)
        return scenes

    def check_window(self, scene: Scene) -> None:
        """Raise SceneError if the scene is smaller than a window, or metres mean nothing on its grid."""
        height, width = self.in_pixels(scene, self.window)
        if height > scene.extent.height or width > scene.extent.width:
            paths = [path for dates in scene.layers.values() for group in dates.values() for path in group]
            shared = f' that its {len(paths)} files share' if len(paths) > 1 else ''
            raise SceneError(
                f'({paths[0]}) has {scene.extent.height} x {scene.extent.width} pixels{shared}, less than a window of '
                f'{height} x {width}; make the window smaller'
            )

    def in_pixels(self, scene: Scene, length: float) -> tuple[int, int]:
        """A length as pixels of the scene's grid (down, across), at least 1."""
        if self.unit == 'pixels':
            return max(1, round(length)), max(1, round(length))
        if scene.gsd is None:
            grid = 'no projected CRS' if scene.grid is None else describe_crs(scene.grid.crs)
            raise SceneError(f"has {grid}: metres mean nothing; set unit='pixels', or give it a projected CRS")
        return max(1, round(length / scene.gsd[0])), max(1, round(length / scene.gsd[1]))

    def __len__(self) -> int:
        """Windows per epoch."""
        self.full_init()
        return self.windows_per_epoch or int(self.ends[-1])

    def __getitem__(self, idx: int) -> dict:
        """The sample of one window, or of another where it cannot be used."""
        self.full_init()
        if idx < 0:
            idx += len(self)
        if not 0 <= idx < len(self):
            raise IndexError(f'sample {idx} of {len(self)}')
        rng = sample_rng(idx)
        total = int(self.ends[-1])
        # with random windows an epoch goes through the archive's area in even steps
        cell = int(idx) if self.sampling == 'grid' else int((int(idx) + rng.random()) * total / len(self))
        first = int(np.searchsorted(self.ends, cell, side='right'))
        if (sample := self.draw(int(idx), first, cell, rng)) is not None:
            return sample
        for scene in rng.permutation(len(self.ends)):
            if scene != first and (sample := self.draw(int(idx), int(scene), None, rng)) is not None:
                return sample
        raise NoDataError(f'no window of {len(self.ends)} scenes can be used; raise max_nodata (now {self.max_nodata})')

    def draw(self, idx: int, scene: int, cell: int | None, rng: np.random.Generator) -> dict | None:
        """The sample of a window of a scene, or None if none of its windows can be used.

        Tries the grid window ``cell`` if there is one, then some drawn anew, then all of the scene's grid.
        """
        own = np.random.default_rng(rng.integers(2**63))  # what comes next does not depend on how often this draws
        if self.skipped_scenes.bad[scene]:
            return None
        last: UnreadableImageError | None = None
        for window in self.candidates(scene, cell, own):
            try:
                return self.pipeline(self.sample_info(idx, scene, window, own))
            except NoDataError as error:
                last = error
            except UnreadableImageError as error:
                last = error
                self.skipped_windows.note(self.cell_of(scene, window), error)
        assert last is not None
        self.skipped_scenes.note(scene, NoDataError(f'none of its windows can be used; the last one: {last}'))
        return None

    def candidates(self, scene: int, cell: int | None, rng: np.random.Generator) -> Iterator[Window]:
        """Windows of a scene in the order they are tried."""
        first, end = self.cells(scene)
        if cell is None:
            cell = int(rng.integers(first, end))
        for _ in range(_DRAWS):
            yield self.window_of(scene, cell, rng)
            cell = int(rng.integers(first, end))
        free, steps = self.extents[scene, 2:] - self.sides[scene], self.steps[scene]
        rows, columns = -(-free // steps) + 1
        for number in rng.permutation(int(rows * columns)):
            yield self.grid_window(scene, *divmod(int(number), int(columns)))

    def cells(self, scene: int) -> tuple[int, int]:
        """First and last + 1 of the numbers of a scene's grid windows."""
        return int(self.ends[scene - 1]) if scene else 0, int(self.ends[scene])

    def window_of(self, scene: int, cell: int, rng: np.random.Generator) -> Window:
        """The grid window of this number, or a random one of the scene."""
        if self.sampling == 'grid':
            return self.grid_window(scene, *divmod(cell - self.cells(scene)[0], int(self.counts[scene, 1])))
        (top, left, height, width), (rows, columns) = self.extents[scene].tolist(), self.sides[scene].tolist()
        row, column = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        return Window(top + row, left + column, rows, columns)

    def grid_window(self, scene: int, row: int, column: int) -> Window:
        """A window of the scene's grid; the last ones are moved inwards to end with the scene."""
        offset = np.minimum(self.steps[scene] * (row, column), self.extents[scene, 2:] - self.sides[scene])
        return Window(*(self.extents[scene, :2] + offset).tolist(), *self.sides[scene].tolist())

    def cell_of(self, scene: int, window: Window) -> int:
        """The number of the grid window that a window is, or begins in."""
        offsets, last = np.array(window[:2]) - self.extents[scene, :2], self.counts[scene] - 1
        moved = offsets == self.extents[scene, 2:] - self.sides[scene]  # the last of a row or column, moved inwards
        row, column = np.where(moved, last, np.minimum(offsets // self.steps[scene], last))
        return self.cells(scene)[0] + int(row * self.counts[scene, 1] + column)

    def sample_info(self, idx: int, number: int, window: Window, rng: np.random.Generator) -> dict:
        """What the pipeline starts from."""
        scene = Scene(**self.get_data_info(number)['fields'])
        dates = list(next(iter(scene.layers.values())))
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
        )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f'{name}={value!r}, expected one of: {", ".join(choices)}')
