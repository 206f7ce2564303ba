"""The list of planted mistakes fits the code as it is: see tests/mutants."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.mutants.planted import Mutant, mutate, read_list

MUTANTS = read_list()


def test_every_mistake_is_described_once_and_changes_something():
    described = [(mutant.file, mutant.what) for mutant in MUTANTS]
    assert len(set(described)) == len(described) > 50
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)
    assert not [mutant.what for mutant in MUTANTS if mutant.old == mutant.new]


@pytest.mark.parametrize('file', sorted({mutant.file for mutant in MUTANTS}))
def test_mistakes_can_be_made_where_they_are_said_to_be(file):
    source = (ROOT / file).read_text()
    for mutant in MUTANTS:
        if mutant.file == file:
            changed = mutate(source, mutant)
            if file.endswith('.py'):  # pages are changed, too
                ast.parse(changed, mutant.what)


@cache
def functions_of(path):
    return {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}


def test_tests_that_should_notice_are_there():
    for mutant in MUTANTS:
        assert mutant.tests, mutant.what
        for test in mutant.tests:
            path, *names = test.split('::')
            assert {name.split('[')[0] for name in names} <= functions_of(path), f'{mutant.what}: {test}'


@pytest.mark.parametrize('source', ['x = 1\n', 'x = 2\nx = 2\n'])
def test_a_place_that_is_not_there_or_not_alone(source):
    with pytest.raises(ValueError, match=r"a\.py has [02] times 'x = 2', expected 1"):
        mutate(source, Mutant('a.py', 'x', 'x = 2', 'x = 3', ('tests/test_mutants.py',)))


def test_the_list_is_not_collected_as_tests():
    assert not list(Path(__file__).with_name('mutants').glob('test_*.py'))
