"""See before training which images of a folder are like the others and fit what loads them, by their headers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from glob import escape
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol, TypeVar

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.agreement import compare_values, note_declared, refuse_other_bands, settle_alpha
from mmrs_ssl.rasters.bands import common_names
from mmrs_ssl.rasters.convert import rgb_numbers
from mmrs_ssl.rasters.errors import OtherBandsError, UnreadableImageError
from mmrs_ssl.rasters.find import RASTER_SUFFIXES
from mmrs_ssl.rasters.formats import driver_of
from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.rasters.header_cache import read_headers
from mmrs_ssl.rasters.nodata import Marks, nodata_of, require_fill
from mmrs_ssl.rasters.pictures import masked_by_gdal, read_masked, read_picture_header

_T = TypeVar('_T')
_THREADS, _AT_ONCE = 8, 64  # files a thread takes
_LOOKS = 9  # pictures whose alpha is looked at


class ImageLoader(Protocol):
    """What has to be known of what loads images, such as ``LoadRaster``."""

    bands: Any
    size: tuple[int, int] | None
    convert: str | None
    height: str | None
    marks: Marks
    fill: float | str
    unscale: bool

    def outcome(self, header: Header, path: str) -> tuple[int, str]:
        """Tell how many bands, of which type, are loaded; raise OtherBandsError where that cannot be."""
        ...

    def choose_of(self, header: Header, path: str) -> list[int]:
        """Choose the bands that are loaded, as numbers from 0."""
        ...


class Sorting(NamedTuple):
    """Which images are kept, in order, and which are left out, each with its error or None if others are unlike it."""

    kept: list[str]
    left_out: dict[str, ValueError | None]
    headers: dict[str, Header]

    @property
    def unreadable(self) -> list[UnreadableImageError]:
        """Return why those that cannot be read cannot."""
        return [error for error in self.left_out.values() if isinstance(error, UnreadableImageError)]

    def band_names(self, loaders: Sequence[ImageLoader]) -> dict[str, tuple[str, ...]]:
        """Return what files call the bands that are loaded, '' where they do not say; of one loader, under ''."""
        if len(loaders) != 1 or loaders[0].height == 'colors' or not self.headers:
            return {}
        files = ((self.headers[path], loaders[0].choose_of(self.headers[path], path)) for path in self.kept)
        return {'': common_names(files)}

    def explain(self, loaders: Sequence[ImageLoader]) -> str:
        """Say what is left out, and what to do about it that is right for all other images."""
        texts, mends = self._explain_misfits(loaders)
        if self.unreadable:
            texts.append(f'{len(self.unreadable)} that cannot be read, e.g. {self.unreadable[0]}')
            mends.append('mend or remove what cannot be read')
        advice = ', or '.join(mends)
        return f'{"; ".join(texts)}. {advice[:1].upper()}{advice[1:]}'

    def _explain_misfits(self, loaders: Sequence[ImageLoader]) -> tuple[list[str], list[str]]:
        kinds: dict[str, list[str]] = {}
        for path in self.left_out:
            if path in self.headers:
                kinds.setdefault(_kind(self.headers[path]), []).append(path)
        if not kinds:
            return [], []
        texts = [f'{len(paths)} with {kind} (e.g. {paths[0]})' for kind, paths in kinds.items()]
        misfits = [path for paths in kinds.values() for path in paths]
        if any(self.left_out[path] for path in misfits):
            texts[-1] += f', but {" and ".join(f"bands={loader.bands}" for loader in loaders)} is configured'
        usual = Counter(map(_kind, self.headers.values())).most_common(1)[0][0]
        if self.kept:
            texts.append(f'most have {usual}')
        mends = []
        fitting = any(_kind(self.headers[path]) == usual for path in self.kept)
        if not fitting:
            counted = all(isinstance(loader.bands, int) for loader in loaders)
            setting = f'set bands (and the mean and std of as many) to {usual.split()[0]}'
            mends.append(setting if counted else 'name bands that they have')
        could = all(_could_convert(loader) for loader in loaders)
        if could and any(_is_rgb(self.headers[path], path) for path in misfits):
            mends.append("make RGB of every file: LoadRaster(convert='rgb')")
        if fitting:
            mends.append(f'leave them out: {_pattern(misfits, self.kept)}')
        return texts, mends


def sort_out(
    paths: Sequence[str], loaders: Sequence[ImageLoader], access: Access | None = None, cache_dir: str | None = None
) -> Sorting:
    """Leave out the images that cannot be read, do not fit what loads them, or are loaded unlike most others.

    Alpha of pictures is a mask as of rasters: unless it is counted or named, or its values in a few pictures are not
    those of a mask. What that gives holds for all of the folder.

    Args:
        paths: of images.
        loaders: what loads them; without any, nothing but what is no image at all is left out.
        access: where rasters, and what they name, may lie.
        cache_dir: where headers of rasters are kept, see :func:`read_headers`.

    Raises:
        OtherBandsError: if they contradict each other in what their bands are, or whether alpha is a mask.
        ValueError: if those that are kept are complex, or cannot hold the value that is to mean no data.
    """
    listed, paths = paths, list(dict.fromkeys(paths))  # a list may name an image more than once
    if not loaders:
        checked = dict(zip(paths, _of_all(_no_image, paths), strict=True))
        errors = {path: error for path, error in checked.items() if error}
        return Sorting([path for path in listed if path not in errors], {**errors}, {})
    whole = all(loader.size is None for loader in loaders)
    pictures = [path for path in paths if whole and not path.lower().endswith(RASTER_SUFFIXES)]
    by_gdal = _of_all(masked_by_gdal, pictures)
    pictures = [path for path, beside in zip(pictures, by_gdal, strict=True) if not beside]
    found = dict(zip(pictures, _of_all(_header_or_error, pictures), strict=True))
    if any(_by_alpha(loader) for loader in loaders):
        found |= _looked_at({path: header for path, header in found.items() if isinstance(header, Header)})
    if rest := [path for path in paths if path not in found]:
        found |= read_headers(rest, cache_dir, access)
    loaded: dict[str, tuple[tuple[int, str], ...]] = {}
    left_out: dict[str, ValueError | None] = {}
    for path in paths:
        header = found[path]
        try:
            if isinstance(header, UnreadableImageError):
                raise header
            loaded[path] = tuple(loader.outcome(header, path) for loader in loaders)
        except (OtherBandsError, UnreadableImageError) as error:
            left_out[path] = error
    if loaded:
        most = Counter(loaded.values()).most_common(1)[0][0]
        left_out |= {path: None for path, result in loaded.items() if result != most}
    headers = {path: header for path, header in found.items() if isinstance(header, Header)}
    _refuse_values([(path, headers[path]) for path in paths if path not in left_out], loaders)
    for loader in loaders:
        rasters = [(path, headers[path]) for path in rest if path not in left_out]
        seen = [(path, headers[path]) for path in pictures if path not in left_out] if _by_alpha(loader) else []
        settle_alpha(loader, [*rasters, *seen])
        note_declared(loader, rasters)
        beside = [(path, headers[path]) for path in pictures if rasters and path not in left_out]
        compare_values(loader, [*rasters, *beside])
        refuse_other_bands(loader, [*rasters, *beside])
    return Sorting([path for path in listed if path not in left_out], left_out, headers)


def _of_all(call: Callable[[str], _T], paths: Sequence[str]) -> list[_T]:
    with ThreadPoolExecutor(_THREADS) as threads:
        parts = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
        return [result for part in threads.map(lambda part: [call(path) for path in part], parts) for result in part]


def _header_or_error(path: str) -> Header | UnreadableImageError:
    try:
        return read_picture_header(path)
    except UnreadableImageError as error:
        return error


def _by_alpha(loader: ImageLoader) -> bool:
    """Tell whether it depends on the values of an alpha channel what is loaded of pictures."""
    return loader.marks.alpha is None and loader.bands not in (2, 4)


def _looked_at(headers: dict[str, Header]) -> dict[str, Header]:
    """Look at a few pictures that have alpha; where it is no mask in one, it is none in those not looked at, either."""
    paths = [path for path, header in headers.items() if header.alpha is not None]
    looks = [paths[i] for i in sorted({i * (len(paths) - 1) // (_LOOKS - 1) for i in range(_LOOKS)})] if paths else []
    seen: dict[str, Header] = {}
    for path in looks:
        with suppress(UnreadableImageError):  # which reading it will tell
            pixels, header, opaque = read_masked(path, None, None)
            one = (pixels[..., -1] == pixels[0, 0, -1]).all()
            seen[path] = header._replace(mask=None if one else opaque is not None)
    if any(header.mask is False for header in seen.values()):
        seen = {path: headers[path]._replace(mask=False) for path in paths if path not in seen} | seen
    return seen


def _refuse_values(files: Sequence[tuple[str, Header]], loaders: Sequence[ImageLoader]) -> None:
    for path, header in files:
        if header.dtype.startswith('complex'):
            raise ValueError(f'{path} is {header.dtype}: complex numbers are not supported; take amplitude or phase')
        count = len(header.names)
        for loader in loaders:
            nodata_of(header.nodata or (None,) * count, (header.dtype,) * count, loader.marks, path)
            require_fill(loader, header.dtype, path)


def _no_image(path: str) -> UnreadableImageError | None:
    try:
        if path.lower().endswith(RASTER_SUFFIXES):
            driver_of(path)
        else:
            read_picture_header(path)
    except UnreadableImageError as error:
        return error
    return None


def _kind(header: Header) -> str:
    count = len(header.names)
    return f'{count} band{"s" if count > 1 else ""} of {header.dtype}'


def _could_convert(loader: ImageLoader) -> bool:
    return not (loader.convert or loader.height) and loader.bands in (3, None)


def _is_rgb(header: Header, path: str) -> bool:
    try:
        return bool(rgb_numbers(header, path))
    except OtherBandsError:
        return False


def _pattern(misfits: Sequence[str], kept: Sequence[str]) -> str:
    """Write patterns that all misfits fit and no other image: of a folder, or of some names."""
    common = set.intersection(*(set(PurePath(path).parent.parts) for path in misfits))
    for path in kept:
        common -= set(PurePath(path).parent.parts)
    if folders := [part for part in PurePath(misfits[0]).parent.parts if part in common]:
        return f'exclude={f"**/{escape(folders[-1])}"!r}'
    names = dict.fromkeys(PurePath(path).name for path in misfits)
    if len(names) <= 3 and not any(PurePath(path).name in names for path in kept):
        return f'exclude={[f"**/{escape(name)}" for name in names]!r}'
    return "exclude=[...] with patterns of their names, e.g. '**/*_mask.png'"
