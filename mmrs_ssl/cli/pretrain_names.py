"""Tell from the names of rasters which are modalities, dates or bands of the same place."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from mmrs_ssl.scenes.files import match_rule
from mmrs_ssl.scenes.suggest import suggest_rule

COLORS = ('rgb', 'dom', 'ortho', 'tdom', 'dop')
OTHERS = ('irc', 'irrg', 'cir', 'nir', 'ms', 'msi', 'hsi', 'pan', 'sar', 's1', 's2', 'vv', 'vh', 'thermal', 'swir')
HEIGHTS = ('dsm', 'ndsm', 'chm', 'agl', 'dem', 'dtm')  # the first that is there is taken: what the others say is in it
LABELS = ('label', 'labels', 'mask', 'masks', 'gt', 'class', 'classes', 'cls', 'landcover', 'lc')
_BAND = re.compile(r'(b|band)_?\d{1,2}[a-c]?|red|green|blue|nir|swir\d?|rededge\d?|coastal', re.IGNORECASE)
# rule with the modality's word as %s, and what finds it in a path without its suffix
_SHAPES = (
    ('%s', re.compile(r'(?P<scene>)(?P<word>[^/]+)')),
    *((f'{{scene}}{gap}%s', re.compile(rf'(?P<scene>.+){re.escape(gap)}(?P<word>[^/_.-]+)')) for gap in '_-./'),
    ('%s/{scene}', re.compile(r'(?P<word>[^/]+)/(?P<scene>.+)')),
)


class Naming(NamedTuple):
    """Which files are which part of a scene: rules by modality ('' where there is one), bands, what is left out."""

    rules: dict[str, str]
    band_files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def naming_of(names: Sequence[str]) -> Naming:
    """Find the rules that fit all names, paths relative to the data: modalities, else dates and bands, else scenes."""
    if found := _modalities(names):
        return found
    rule = suggest_rule(names, {'date', 'band'}, match_rule) or suggest_rule(names, {'band'}, match_rule)
    if rule:
        bands = tuple(dict.fromkeys((match_rule(rule, name) or {})['band'] for name in names))
        if len(bands) > 1 and all(map(_BAND.fullmatch, bands)):
            return Naming({'': rule}, bands)
    rule = suggest_rule(names, {'date'}, match_rule)
    if rule:
        places = {(match_rule(rule, name) or {})['scene'] for name in names}
        if len(places) < len(names):
            return Naming({'': rule})
    return Naming({'': '{scene}'})


def _modalities(names: Sequence[str]) -> Naming | None:
    known = {*COLORS, *OTHERS, *HEIGHTS}
    for rule, pattern in _SHAPES:
        found = [pattern.fullmatch(str(PurePosixPath(name).with_suffix(''))) for name in names]
        if not all(found):
            continue
        words = dict.fromkeys(match['word'] for match in found if match)
        kept = [word for word in words if word.lower() in known]
        labels = [word for word in words if set(re.split('[_.-]', word.lower())) & {*LABELS}]
        if len(kept) < 2 or len(kept) + len(labels) < len(words):
            continue
        heights = sorted((word for word in kept if word.lower() in HEIGHTS), key=lambda w: HEIGHTS.index(w.lower()))
        order = [*COLORS, *OTHERS, *HEIGHTS]
        used = sorted((word for word in kept if word not in heights[1:]), key=lambda w: order.index(w.lower()))
        out = [f'{word}: labels are none of the images' for word in labels]
        out += [f'{word}: heights as {heights[0]}, of which one kind is enough' for word in heights[1:]]
        return Naming({word.lower(): rule % word for word in used}, (), tuple(out))
    return None
