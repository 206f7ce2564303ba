"""Tell from the names of rasters which are modalities, dates or bands of the same place."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import PurePosixPath
from typing import NamedTuple

from mmrs_ssl.rasters.find import fits
from mmrs_ssl.scenes.files import match_rule
from mmrs_ssl.scenes.suggest import suggest_rule

COLORS = ('rgb', 'dom', 'ortho', 'tdom', 'dop')
OTHERS = ('irc', 'irrg', 'cir', 'nir', 'ms', 'msi', 'hsi', 'pan', 'sar', 's1', 's2', 'vv', 'vh', 'thermal', 'swir')
# the one that most places have is taken, of several the first: what the others say is in it
HEIGHTS = ('dsm', 'ndsm', 'chm', 'agl', 'dem', 'dtm')
INFRARED = ('irc', 'irrg', 'cir')  # their first band shows no red, whatever the file says
LABELS = ('label', 'labels', 'mask', 'masks', 'gt', 'landcover', 'annotations', 'ann_dir')
# of images only at the end of a name: lidar_class.tif has classes, class_3 is a folder of images of one
CLASSES = ('class', 'classes', 'cls', 'lc')
_GAPS = r' _.-'
_LABEL = re.compile(
    rf'(?<![^{_GAPS}])(?:(?:{"|".join(LABELS)})\d?(?![^{_GAPS}])|(?:{"|".join(CLASSES)})$)', re.IGNORECASE
)
_BAND = re.compile(r'(b|band)_?\d{1,2}[a-c]?|red|green|blue|nir|swir\d?|rededge\d?|coastal', re.IGNORECASE)
# rule with the modality's word as %s, and what finds it in a path without its suffix
_SHAPES = (
    ('%s', re.compile(r'(?P<scene>)(?P<word>[^/]+)')),
    *((f'{{scene}}{gap}%s', re.compile(rf'(?P<scene>.+){re.escape(gap)}(?P<word>[^/_.-]+)')) for gap in '_-.'),
    ('{scene}/%s', re.compile(r'(?P<scene>.+)/(?P<word>[^/]+)')),
    ('%s/{scene}', re.compile(r'(?P<word>[^/]+)/(?P<scene>.+)')),
)


class Naming(NamedTuple):
    """Which files are which part of a scene.

    Attributes:
        rules: by modality, '' where there is one.
        band_files: names of the bands that have a file each.
        left_out: in sentences, what the rules leave out.
        labels: names of labels that no rule tells from the images.
    """

    rules: dict[str, str]
    band_files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def label_patterns(names: Sequence[str]) -> tuple[str, ...]:
    """Write glob patterns of the labels among images; none where all names are those of labels.

    Args:
        names: paths relative to the data.

    Returns:
        As ``exclude`` of :class:`mmrs_ssl.ImageFolder` takes them, each for a folder or for a word in file names.
    """
    found = {name: _label_pattern(PurePosixPath(name)) for name in names}
    return tuple(dict.fromkeys(filter(None, found.values()))) if not all(found.values()) else ()


def _label_pattern(path: PurePosixPath) -> str | None:
    for folder in path.parts[:-1]:
        if _LABEL.search(folder):
            return f'**/{escape(folder)}'
    if (match := _LABEL.search(path.stem)) is None:
        return None
    before, after = path.stem[: match.start()], path.stem[match.end() :]
    return f'**/{f"*{before[-1]}" if before else ""}{match[0]}{f"{after[0]}*" if after else ".*"}'


def modality_words(names: Sequence[str]) -> tuple[str, ...]:
    """Return the words of modalities that some names hold."""
    held = {word for name in names for word in re.split(rf'[/{_GAPS}]', name.lower())}
    return tuple(word for word in (*COLORS, *OTHERS, *HEIGHTS) if word in held)


def naming_of(names: Sequence[str]) -> Naming:
    """Find the rules that fit all names, paths relative to the data: modalities, else dates and bands, else scenes.

    Rasters of one kind are told from their labels, too, if one rule can.
    """
    if found := _modalities(names):
        return found
    patterns = label_patterns(names)
    labels = {name: None for name in names if any(fits(name.split('/'), pattern) for pattern in patterns)}
    naming = _of_one_kind([name for name in names if name not in labels])
    taken = [name for name in labels if takes(naming, name)]
    if not labels:
        return naming
    if not taken:
        return naming._replace(left_out=(_told(list(labels)),))
    return _beside_labels(names) or naming._replace(labels=tuple(taken))


def _of_one_kind(names: Sequence[str]) -> Naming:
    rule = suggest_rule(names, {'date', 'band'}, match_rule) or suggest_rule(names, {'band'}, match_rule)
    if rule and (found := _matches(rule, names)):
        bands = tuple(dict.fromkeys(match['band'] for match in found))
        if len(bands) > 1 and all(map(_BAND.fullmatch, bands)):
            return Naming({'': rule}, bands)
    rule = suggest_rule(names, {'date'}, match_rule)
    if rule and (found := _matches(rule, names)) and len({match['scene'] for match in found}) < len(names):
        return Naming({'': rule})
    return Naming({'': '{scene}'})


def _matches(rule: str, names: Sequence[str]) -> list[dict[str, str]]:
    """Return what a rule, which was tried on some of the names, finds in each; nothing if one does not fit."""
    found = [match_rule(rule, name) for name in names]
    return [match for match in found if match] if all(found) else []


def takes(naming: Naming, name: str) -> bool:
    """Tell whether the rule of rasters of one kind takes a file."""
    found = match_rule(naming.rules[''], name)
    return found is not None and (not naming.band_files or found['band'] in naming.band_files)


def _told(labels: Sequence[str]) -> str:
    return f'labels, by their names ({len(labels)}, {labels[0]} for one)'


def _beside_labels(names: Sequence[str]) -> Naming | None:
    """Find the rule of images that have a word or folder of their own beside that of labels."""
    for rule, found in _shaped(names):
        words = dict.fromkeys(match['word'] for match in found)
        own = [word for word in words if not _LABEL.search(word)]
        if len(own) != 1 or len(words) == 1:
            continue
        inner = Naming({'': '{scene}'})
        if '{scene}' in rule:
            inner = _of_one_kind([f'{match["scene"]}.tif' for match in found if match['word'] == own[0]])
        whole = (rule % own[0]).replace('{scene}', inner.rules[''])
        labels = [name for name, match in zip(names, found, strict=True) if match['word'] != own[0]]
        return Naming({'': whole}, inner.band_files, (_told(labels),))
    return None


def _shaped(names: Sequence[str]) -> Iterator[tuple[str, list[re.Match[str]]]]:
    """Yield the rules whose shape all names have, and what is found in each name."""
    for rule, pattern in _SHAPES:
        found = [pattern.fullmatch(str(PurePosixPath(name).with_suffix(''))) for name in names]
        if all(found):
            yield rule, [match for match in found if match]


def _modalities(names: Sequence[str]) -> Naming | None:
    known = {*COLORS, *OTHERS, *HEIGHTS}
    for rule, found in _shaped(names):
        words = Counter(match['word'] for match in found)
        kept = [word for word in words if word.lower() in known]
        labels = [word for word in words if set(re.split(f'[{_GAPS}]', word.lower())) & {*LABELS, *CLASSES}]
        if len(kept) < 2 or len(kept) + len(labels) < len(words):
            continue
        heights = [word for word in kept if word.lower() in HEIGHTS]
        heights.sort(key=lambda word: (-words[word], HEIGHTS.index(word.lower())))  # the kind that most places have
        order = [*COLORS, *OTHERS, *HEIGHTS]
        used = sorted((word for word in kept if word not in heights[1:]), key=lambda w: order.index(w.lower()))
        out = [f'{word}: labels are none of the images' for word in labels]
        out += [f'{word}: heights as {heights[0]}, of which one kind is enough' for word in heights[1:]]
        return Naming({word.lower(): rule % word for word in used}, (), tuple(out))
    return None
