"""Say which files make which scene: by a rule on their paths, or by a list.

A rule is a path below the data root with ``{scene}``, ``{date}`` and ``{band}`` in place of what varies, e.g.
``'{scene}_dsm'`` or ``'{scene}/{date}/{band}.tif'``; without a suffix it fits any. ``{scene}`` may span folders, the
others may not; a rule without it means that there is one scene. What reads as a date (2020, 202001, 2020-01-31,
20200131T1030) is taken for ``{date}`` where a name can be cut in several ways: ``'{scene}_{date}'`` makes ``town_3``
and ``2020_01_31`` of ``town_3_2020_01_31``; otherwise ``{scene}`` takes as much as it can. A regular expression with
groups of these names is a rule as well.
"""

import csv
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mmrs_ssl.rasters.access import Access, access_to, check_address, check_path, fixed_folder, is_address
from mmrs_ssl.rasters.find import IMAGE_SUFFIXES, RASTER_SUFFIXES, WHERE_TO_SET, find_rasters
from mmrs_ssl.scenes.suggest import describe_misfit

LIST_SUFFIXES = ('.csv', '.json', '.geojson')

_GROUPS = {'{scene}': r'(?P<scene>.+)', '{date}': r'(?P<date>[^/]+)', '{band}': r'(?P<band>[^/]+)'}
_DATE = r'(?P<date>(?<!\d)(?:19|20)\d\d(?:(?P<_gap>[-_.]?)\d\d(?:(?P=_gap)\d\d)?)?(?:T\d{4,6}Z?)?(?!\d))'


class SceneFile(NamedTuple):
    """One raster file and what it shows; fields stay empty where a rule or list does not say."""

    path: str
    scene: str
    modality: str = ''
    date: str = ''
    band: str = ''


def find_scene_files(
    data_root: str | Path, rules: str | Mapping[str, str], access: Access | None = None
) -> list[SceneFile]:
    """Find the files of all scenes, each with its scene, modality, date and band.

    Args:
        data_root: a folder, a glob pattern, one raster (a file or an address), or a list of files (.csv, .json, see
            :func:`read_list`).
        rules: one rule, or one per modality. A file that several rules fit goes to the one with most fixed letters.
            A list needs no rules: of several, their names say which columns or assets to take.
        access: where files that a list names may lie; by default below the list's folder.

    Raises:
        FileNotFoundError: if there is nothing there.
        ValueError: if a rule or list is wrong, no file fits, or two files are the same part of the same scene.
    """
    per_modality = {'': rules} if isinstance(rules, str) else dict(rules)
    access = access or access_to([data_root])
    if str(data_root).lower().endswith(LIST_SUFFIXES):
        wanted = None if isinstance(rules, str) else set(per_modality)
        files = [file for file in read_list(data_root, access) if wanted is None or file.modality in wanted]
    else:
        files = _match_rules(data_root, per_modality, access)
    if not files:
        raise ValueError(f'{data_root}: its columns are none of files={rules!r}; name those to take')
    _refuse_doubles(files)
    return files


@cache
def compile_rule(rule: str) -> list[re.Pattern[str]]:
    """Turn a rule into regular expressions to try in turn, on the whole path relative to the data root.

    Raises:
        ValueError: if the rule is no valid expression.
    """
    try:
        if '(?P<' in rule:
            return [re.compile(rule)]
        parts = re.split(r'(\{scene\}|\{date\}|\{band\})', rule)
        groups = [{**_GROUPS, '{date}': _DATE}, _GROUPS] if '{date}' in parts else [_GROUPS]
        return [re.compile(''.join(kinds.get(part, re.escape(part)) for part in parts)) for kinds in groups]
    except re.error as error:
        raise ValueError(f'files={rule!r} is no valid rule ({error}); expected e.g. {{scene}}/{{date}}') from error


def match_rule(rule: str, name: str) -> dict[str, str] | None:
    """Return the scene, date and band in a path relative to the data root, or None if the rule does not fit it."""
    has_suffix = '(?P<' in rule or rule.lower().endswith(RASTER_SUFFIXES + IMAGE_SUFFIXES)
    text = name if has_suffix else str(PurePosixPath(name).with_suffix(''))
    match = next((match for pattern in compile_rule(rule) if (match := pattern.fullmatch(text))), None)
    return None if match is None else {group: match.groupdict().get(group) or '' for group in ('scene', 'date', 'band')}


def _match_rules(data_root: str | Path, rules: Mapping[str, str], access: Access) -> list[SceneFile]:
    if is_address(str(data_root)):
        check_address(str(data_root), access, f'data_root={str(data_root)!r}')
        names = {str(data_root): PurePosixPath(str(data_root).split('?')[0]).name}
    else:
        base = fixed_folder(Path(data_root))
        names = {str(path): path.relative_to(base).as_posix() for path in find_rasters(data_root)}
    by_length = sorted(rules.items(), key=lambda item: -len(re.sub(r'\{\w+\}', '', item[1])))
    files = []
    for path, relative in names.items():
        for modality, rule in by_length:
            if groups := match_rule(rule, relative):
                files.append(_scene_file(path, modality, groups))
                break
    if not files:
        shown = next(iter(rules.values())) if list(rules) == [''] else dict(rules)
        found = describe_misfit(list(names.values()), rules, match_rule)
        raise ValueError(f'no file of data_root={str(data_root)!r} fits files={shown!r}: {found}')
    return files


def _scene_file(path: str, modality: str, groups: Mapping[str, str | None]) -> SceneFile:
    return SceneFile(path, groups.get('scene') or '', modality, groups.get('date') or '', groups.get('band') or '')


def read_list(path: str | Path, access: Access | None = None) -> list[SceneFile]:
    """Read a list of files.

    Args:
        path: a CSV with a header, or a JSON list of objects of the same names: ``scene``, ``date`` and ``band`` say
            what a row is, every other column is a modality with a path (``path`` if there is only one). Or a STAC-like
            JSON with ``features``: each has an ``id``, ``assets`` (name -> ``href``; the modalities), and in
            ``properties`` optionally ``datetime`` and ``place`` (features of one place are its dates). Relative paths
            start at the list's folder.
        access: where the files may lie; by default below the list's folder, and none on the network.

    Raises:
        FileNotFoundError: if there is no such list.
        ValueError: if it is not understood, or names a file that lies elsewhere.
    """
    path, access = Path(path), access or access_to([path])
    if not path.is_file():
        raise FileNotFoundError(f'data_root={str(path)!r} is not a file; {WHERE_TO_SET}')
    if path.suffix.lower() == '.csv':
        with path.open(newline='', encoding='utf-8-sig') as stream:
            rows: Iterable[Mapping[str, str]] = list(csv.DictReader(stream))
    else:
        try:
            content = json.loads(path.read_text())
            is_stac = isinstance(content, dict)
            rows = [_stac_row(f) for f in content['features']] if is_stac else [_json_row(item) for item in content]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}: expected a JSON list of objects, or an object with features with id and assets ({error!r})'
            ) from error
    files = [file for number, row in enumerate(rows, 1) for file in _row_files(path, number, row, access)]
    if not files:
        raise ValueError(f'{path}: lists no file')
    return files


def _json_row(item: object) -> dict[str, str]:
    return dict(path=item) if isinstance(item, str) else dict(item)  # type: ignore[call-overload]


def _stac_row(feature: Mapping) -> dict[str, str]:
    properties = feature.get('properties') or {}
    row = {name: asset['href'] for name, asset in feature['assets'].items()}
    row['scene'] = properties.get('place') or feature['id']
    if 'place' in properties:
        row['date'] = str(properties.get('datetime') or feature['id'])
    return row


def _row_files(path: Path, number: int, row: Mapping[str, str], access: Access) -> list[SceneFile]:
    values = {name.strip(): str(value).strip() for name, value in row.items() if name and value}
    groups = {name: values.pop(name, None) for name in ('scene', 'date', 'band')}
    if not values:
        raise ValueError(f'{path}: row {number} names no file; expected a column path, or one per modality')
    groups['scene'] = groups['scene'] or Path(next(iter(values.values()))).stem
    single = set(values) == {'path'}
    return [
        _scene_file(_resolve(path, number, file, access), '' if single else name, groups)
        for name, file in values.items()
    ]


def _resolve(path: Path, number: int, file: str, access: Access) -> str:
    """Make a list's path relative to the list; addresses that GDAL reads (https://..., /vsis3/...) stay as they are."""
    where = f'{path}: row {number} names {file}, which'
    if is_address(file := file.removeprefix('file://')):
        check_address(file, access, where)
        return file
    local = str(path.parent / file)
    if file.startswith('/') or '..' in file.split('/') or '\0' in file:
        check_path(local, access, where)
    return local


def _refuse_doubles(files: list[SceneFile]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for file in files:
        other = seen.setdefault(tuple(file[1:]), file.path)
        if other != file.path:
            raise ValueError(
                f'{other} and {file.path} are both scene={file.scene!r}, modality={file.modality!r}, '
                f'date={file.date!r}, band={file.band!r}; let files= tell them apart: {{scene}}/{{date}}, {{scene}}.tif'
            )
