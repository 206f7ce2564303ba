"""Find out what a VRT reads before GDAL opens it: a VRT is a text that names other files, addresses and code."""

from __future__ import annotations

import os
from typing import NamedTuple
from xml.parsers import expat

from mmrs_ssl.rasters.errors import UnreadableImageError

# GDAL looks for names of any case, and takes an attribute for a child of that name. All names are in lower case here.
_SOURCES = ('sourcefilename', 'sourcedataset')
_WITH_TEXT = (*_SOURCES, 'pixelfunctionlanguage')
_REFUSED = {
    'pixelfunctioncode': 'holds code',
    'processingsteps': 'is a processed VRT',
    'group': 'has several dimensions',
    'dempath': 'reads heights for its warping',
    'geoloctransformer': 'reads coordinates for its warping',
    'srcgeoloctransformer': 'reads coordinates for its warping',
    'dstgeoloctransformer': 'reads coordinates for its warping',
    'subclass': 'says what it is in an element and not in an attribute',
}
_LANGUAGES = ('c', 'expression')
_CLASSES = {
    'vrtdataset': ('', 'vrtdataset', 'vrtwarpeddataset', 'vrtpansharpeneddataset'),
    'vrtrasterband': (
        '',
        'vrtrasterband',
        'vrtsourcedrasterband',
        'vrtwarpedrasterband',
        'vrtpansharpenedrasterband',
        'vrtderivedrasterband',
        'vrtrawrasterband',
    ),
}
_OPEN_OPTIONS = ('overview_level', 'num_threads', 'sparse_ok', 'georef_sources')
_FILES_IN_METADATA = ('overview_file', 'x_dataset', 'y_dataset', 'rpc_dem', 'rpc_dem_file')


class VRTSource(NamedTuple):
    """A file or address that a VRT names; ``raw`` ones are read as plain bytes, whatever they are."""

    name: str
    relative: bool
    raw: bool


def vrt_sources(path: str) -> list[VRTSource]:
    """Read what a VRT names as its sources. Those of nested VRTs are in these files.

    Raises:
        UnreadableImageError: if it is no VRT, or has what this project does not open: code, entities, drivers' options,
            files of coordinates.
    """
    reader = _Reader(path)
    try:
        with open(path, 'rb') as file:
            reader.parser.ParseFile(file)
    except (OSError, expat.ExpatError) as error:
        raise UnreadableImageError(f'{path}: not readable as a VRT ({error})') from error
    return reader.sources


class _Reader:
    def __init__(self, path: str) -> None:
        self.path = path
        self.sources: list[VRTSource] = []
        self.open: list[str] = []  # names of the elements around
        self.text: str | None = None  # of an element whose text counts
        self.relative = self.raw = False
        self.parser = expat.ParserCreate('utf-8')  # GDAL, too, takes any text for UTF-8
        self.parser.StartDoctypeDeclHandler = lambda *_: self.refuse('declares entities')
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.add_text
        self.parser.CommentHandler = self.parser.ProcessingInstructionHandler = self.inside
        self.parser.StartCdataSectionHandler = self.inside

    def refuse(self, fault: str) -> None:
        raise UnreadableImageError(f'{self.path} {fault}, which is not read; make it anew with gdalbuildvrt')

    def inside(self, *_: object) -> None:
        if self.text is not None:  # GDAL would read another name than this reader does
            self.refuse(f'has more than text in {self.open[-1]}')

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.inside()
        name = tag.lower()
        given = {key.lower(): value for key, value in attributes.items()}
        if len(given) < len(attributes):
            self.refuse(f'gives an attribute of {tag} twice')
        if not self.open and name != 'vrtdataset':
            raise UnreadableImageError(f'{self.path} holds the text of {tag}, not of a VRT')
        if name in _REFUSED:
            self.refuse(_REFUSED[name])
        if hidden := ({*_WITH_TEXT, *_REFUSED} - {'subclass'}) & set(given):
            self.refuse(f'has {", ".join(sorted(hidden))} as an attribute')
        if name in _CLASSES and (kind := given.get('subclass', '')).lower() not in _CLASSES[name]:
            self.refuse(f'is of class {kind}')
        if name == 'ooi' and given.get('key', '').lower() not in _OPEN_OPTIONS:
            self.refuse(f'sets the open option {given.get("key")!r}')
        if name == 'mdi' and {value.lower() for value in given.values()} & set(_FILES_IN_METADATA):
            self.refuse(f'names a file in its metadata ({", ".join(given.values())})')
        self.open.append(name)
        if name == 'vrtrasterband':
            self.raw = given.get('subclass', '').lower() == 'vrtrawrasterband'
        if name in _WITH_TEXT:
            self.text = ''
            if (relative := given.get('relativetovrt', '0')) not in ('0', '1'):
                self.refuse(f'has relativeToVRT={relative!r}')
            self.relative = relative == '1'

    def add_text(self, text: str) -> None:
        if self.text is not None:
            self.text += text

    def end(self, _: str) -> None:
        name = self.open.pop()
        text, self.text = self.text, None
        if name in _SOURCES and text is not None:
            if not text or text != text.strip() or not text.isprintable():
                self.refuse(f'names a source {text!r}')
            self.sources.append(VRTSource(text, self.relative, self.raw))
        elif name == 'pixelfunctionlanguage' and str(text).strip().lower() not in _LANGUAGES:
            self.refuse(f'has a pixel function in {text}')


def path_of(source: VRTSource, vrt: str) -> str:
    """Return the path of a source that is a local file; ``vrt`` is the real path of the VRT."""
    return os.path.join(os.path.dirname(vrt) if source.relative else os.getcwd(), source.name)
