"""The package as a whole: which rooms may know which, and how large and how named its parts are."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter

import grimp
import pytest

from mmrs_ssl import aliases
from tests.conftest import ROOT

PACKAGE = ROOT / 'mmrs_ssl'
FILES = sorted(PACKAGE.rglob('*.py'))


# Each knows those of lower lines only, and none of its own line.
ROOMS = (
    {'__main__'},
    {'cli'},
    {'benchmarks'},
    {'engine'},
    {'evaluation', 'visualization', 'datasets'},
    {'models', 'archives'},
    {'scenes'},
    {'rasters', 'synthetic', 'transfer', 'ops'},
    {'aliases'},
    {'registry', 'options', 'band_names', 'shipped_configs', 'version', 'installation'},
)


@pytest.fixture(scope='module')
def imports():
    return grimp.build_graph('mmrs_ssl', cache_dir=None)


def test_imports_go_one_way(imports):
    rooms = set().union(*ROOMS)
    assert {module.split('.')[1] for module in imports.modules if module.count('.') == 1} == rooms
    illegal = imports.find_illegal_dependencies_for_layers(ROOMS, containers={'mmrs_ssl'})
    assert not [(found.importer, found.imported) for found in illegal]


def test_no_module_needs_itself(imports):
    known = {module: imports.find_modules_directly_imported_by(module) for module in imports.modules}
    TopologicalSorter(known).prepare()  # raises CycleError


def test_files_stay_small():
    assert not {str(file): length for file in FILES if (length := len(file.read_text().splitlines())) > 350}
    datasets = sum(len(file.read_text().splitlines()) for file in (PACKAGE / 'datasets').rglob('*.py'))
    assert datasets <= 2100


def test_a_name_means_one_thing():
    places = defaultdict(list)
    for file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith('_'):
                places[node.name].append(str(file.relative_to(ROOT)))
    # every part of the GPU check has these two
    assert not {name: files for name, files in places.items() if len(files) > 1 and name not in ('checks', 'train')}


@pytest.mark.parametrize('file', [file.relative_to(ROOT).as_posix() for file in FILES if file.name != 'aliases.py'])
def test_retired_words_do_not_come_back(file):
    renamed = {old: new for names in aliases.OPTIONS.values() for old, new in names.items()}
    # those that parts have now are ordinary words, as shrink is
    options = {old for old, new in renamed.items() if '.' not in str(new)} - {'shrink'} | {'gives_way', 'normalise_'}
    words = {*aliases.TRANSFORM_NAMES, *options, 'centre', 'colour', 'normalis', 'solaris'}
    words |= {'homeless', 'unfit', 'say_sizes', 'theirs', 'bare_model'}
    text = (ROOT / file).read_text()
    assert not [word for word in sorted(words) if word in text]
