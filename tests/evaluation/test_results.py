"""A file of figures that survives, and the table of them."""

import csv
import json
from multiprocessing import get_context

import numpy as np
import pytest

from mmrs_ssl.evaluation.intervals import Figure
from mmrs_ssl.evaluation.labelled import Labelled
from mmrs_ssl.evaluation.results import ResultFile, digest_of_data, digest_of_file, distinct_names, table_of


def row(measure='20-NN', value=50.0, **more):
    return dict(features='a', measure=measure, value=value, low=value - 1, high=value + 1, **more)


def test_rows_are_found_again_by_what_they_depend_on(tmp_path):
    file = ResultFile(tmp_path / 'deep' / 'r.jsonl')
    assert file.known(dict(weights='w')) == {}
    file.add([row(weights='w', size=64), row('linear', 60.0, weights='w', size=64)])
    file.add([row(value=40.0, weights='v', size=64), row(value=30.0, weights='w', size=96)])
    assert file.known(dict(weights='w', size=64)) == {'20-NN': Figure(50, 49, 51), 'linear': Figure(60, 59, 61)}
    assert file.known(dict(weights='w', size=96)) == {'20-NN': Figure(30, 29, 31)}
    assert file.known(dict(weights='w', size=96, bf16=True)) == {}
    with (tmp_path / 'deep' / 'r.csv').open() as written:
        lines = list(csv.DictReader(written))
    assert [(line['measure'], line['weights'], float(line['value'])) for line in lines] == [
        ('20-NN', 'w', 50),
        ('linear', 'w', 60),
        ('20-NN', 'v', 40),
        ('20-NN', 'w', 30),
    ]


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    file = ResultFile(tmp_path / 'r.jsonl')
    file.add([row(weights='w')])
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + b'{"features": "b", "meas')
    assert len(file.rows()) == 1
    file.add([row('linear', weights='w')])
    assert file.path.read_bytes() == whole + json.dumps(row('linear', weights='w')).encode() + b'\n'


def add_many(path, name):
    for value in range(30):
        ResultFile(path).add([row(name, float(value)), row(name, value + 0.5)])


def test_two_programs_add_at_once(tmp_path):
    path = tmp_path / 'r.jsonl'
    processes = [get_context('fork').Process(target=add_many, args=(path, name)) for name in 'ab']
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    rows = ResultFile(path).rows()
    for name in 'ab':
        assert [each['value'] for each in rows if each['measure'] == name] == [value / 2 for value in range(60)]
    assert len(path.with_suffix('.csv').read_text().splitlines()) == 121


def test_digests(tmp_path):
    for name in 'ab':
        (tmp_path / name).write_bytes(b'weights')
    assert digest_of_file(tmp_path / 'a') == digest_of_file(tmp_path / 'b')
    (tmp_path / 'b').write_bytes(b'otherss')  # as long
    assert digest_of_file(tmp_path / 'a') != digest_of_file(tmp_path / 'b')

    def data(names, labels):
        return Labelled([str(tmp_path / name) for name in names], np.array(labels), ['x', 'y'])

    known = digest_of_data(data('ab', [0, 1]))
    assert known == digest_of_data(data('ab', [0, 1]))
    assert len({known, digest_of_data(data('ba', [0, 1])), digest_of_data(data('ab', [1, 1]))}) == 3
    (tmp_path / 'b').write_bytes(b'another')  # of the same name and length
    assert digest_of_data(data('ab', [0, 1])) != known


def test_table():
    figures = {'random': {'20-NN': Figure(50.04, 45.0, 55.06)}, 'a.pth': {'linear': Figure(99.96, 99, 100)}}
    assert table_of(figures, ['20-NN', 'linear']).splitlines() == [
        '| features | 20-NN            | linear             |',
        '| -------- | ---------------- | ------------------ |',
        '| random   | 50.0 (45.0-55.1) |                    |',
        '| a.pth    |                  | 100.0 (99.0-100.0) |',
    ]


@pytest.mark.parametrize('text', ['[1]\n', '{"measure": "linear"}\n', 'features,measure\n', '\xff\xfe\n'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / 'r.jsonl'
    path.write_bytes(json.dumps(row()).encode() + b'\n' + text.encode('latin-1'))
    with pytest.raises(ValueError, match=r'r.jsonl, line 2: .*expected a row of figures: name another file'):
        ResultFile(path).known({})


def test_other_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match='expected a name that ends in'):
        ResultFile(tmp_path / 'r.csv')


def test_names_tell_files_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = '_'.join(tmp_path.parts[1:])
    assert distinct_names(['a/epoch_1.pth'], 2) == {'a/epoch_1.pth': 'a_epoch_1'}
    assert distinct_names(['a/x/epoch_1.pth', 'b/x/epoch_1.pth'], 1) == {
        'a/x/epoch_1.pth': 'a_x_epoch_1',
        'b/x/epoch_1.pth': 'b_x_epoch_1',
    }
    assert list(distinct_names(['a.pth', 'b.pth'], 1).values()) == ['a', 'b']
    assert list(distinct_names(['a.pth', 'a.bin'], 1).values()) == [f'{start}_a.pth', f'{start}_a.bin']
    assert list(distinct_names(['a.pth', 'sub/a.pth'], 9).values()) == [f'{start}_a', f'{start}_sub_a']
