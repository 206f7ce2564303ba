"""tools/evaluate_features.py on generated scenes of four classes, in this process."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from mmrs_ssl.evaluation.labelled import halves, read_labelled
from mmrs_ssl.evaluation.probes import STRENGTHS
from mmrs_ssl.synthetic.canvas import SCENE_CLASSES
from mmrs_ssl.synthetic.scene import make_scene
from tests.conftest import ROOT, build_cmid, cmid_config


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Twenty pictures of 64 pixels of each of four classes."""
    root = tmp_path_factory.mktemp('scenes')
    for label, name in enumerate(SCENE_CLASSES[:4]):
        (root / name).mkdir()
        for number in range(20):
            picture = make_scene(name, seed=100 * label + number, size=64, gsd=1.0).rgb()
            assert cv2.imwrite(str(root / name / f'{number:02d}.png'), picture[..., ::-1])
    return root


@pytest.fixture
def checkpoint(make_config, tmp_path):
    """An untrained CMID, as a training saves it."""
    model = build_cmid(seed=5)
    path = tmp_path / 'run' / 'epoch_1.pth'
    path.parent.mkdir()
    meta = dict(cfg=make_config(model=cmid_config()).pretty_text, evaluated='student', mmengine_version='0.10.7')
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path, model


def figures(output):
    """Rows of the table: name -> measure -> (value, low, high)."""
    lines = [
        [cell.strip() for cell in line.strip('| ').split(' | ')] for line in output.splitlines() if line[:1] == '|'
    ]
    head = lines[0]
    return {
        row[0]: {
            name: tuple(map(float, re.fullmatch(r'([\d.]+) \(([\d.]+)-([\d.]+)\)', cell).groups()))
            for name, cell in zip(head[1:], row[1:], strict=True)
        }
        for row in lines[2:]
    }


def features_by_hand(model, data):
    pictures = np.stack([cv2.imread(path)[..., ::-1] for path in data.paths]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        model.backbone.eval()
        maps = model.backbone((torch.from_numpy(pictures).float() - 100) / 50)[-1]
    return maps.mean(dim=(2, 3)).numpy()


def test_figures_are_scikit_learns_beside_all_floors(checkpoint, scenes, run_tool, tmp_path):
    path, model = checkpoint
    out, pictures = tmp_path / 'results.jsonl', tmp_path / 'pictures'
    given = [path, '--data', scenes, '--few', 5, 50, '--workers', 0, '--out', out, '--pictures', pictures]
    code, output = run_tool('evaluate_features.py', *given)
    assert code == 0, output
    table = figures(output)
    floors = ['color histogram', 'band statistics', 'random ResNet', 'random ResNet, BatchNorm measured']
    assert list(table) == [*floors, str(path)]
    assert 'linear, 50 a class: left out, class' in output
    assert '40 labelled images, 40 test images (seed 0), 4 classes' in output
    assert re.search(r'epoch_1.pth: ResNet, mean vector, 64 pixels, LoadRaster\(bands=3\), mean \[100.0, 100.0', output)
    labelled, test = halves(read_labelled(scenes))
    train, held = features_by_hand(model, labelled), features_by_hand(model, test)
    for count in (5, 20):
        plain = KNeighborsClassifier(count, metric='cosine').fit(train, labelled.labels)
        assert table[str(path)][f'{count}-NN'][0] == pytest.approx(100 * plain.score(held, test.labels), abs=0.1)
    scaler = StandardScaler().fit(train)
    known = [
        100
        * LogisticRegression(C=c, max_iter=5000)
        .fit(scaler.transform(train), labelled.labels)
        .score(scaler.transform(held), test.labels)
        for c in STRENGTHS
    ]
    assert min(abs(table[str(path)]['linear'][0] - each) for each in known) < 0.1
    for row in table.values():
        assert list(row) == ['5-NN', '20-NN', '5-NN weighted', '20-NN weighted', 'linear', 'linear, 5 a class']
        assert all(low <= value <= high for value, low, high in row.values())
    with out.with_suffix('.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 6
    assert {row['features'] for row in rows} == set(table)
    for name in ('confusion', 'neighbors'):
        assert cv2.imread(str(pictures / f'run_epoch_1_{name}.png')).std() > 10

    written = out.read_bytes()
    code, again = run_tool('evaluate_features.py', *given[:-2])
    assert code == 0, again
    assert figures(again) == table
    assert out.read_bytes() == written  # nothing was measured again


def test_what_was_written_is_not_computed_again(checkpoint, scenes, run_tool, tmp_path):
    path, _ = checkpoint
    out = tmp_path / 'results.jsonl'
    given = [path, '--data', scenes, '--few', '--workers', 0, '--out', out]
    assert run_tool('evaluate_features.py', *given)[0] == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    changed = [dict(line, value=12.3) if line['measure'] == '20-NN' else line for line in lines]
    kept = [line for line in changed if not (line['features'] == str(path) and line['measure'] == 'linear')]
    out.write_text(''.join(f'{json.dumps(line)}\n' for line in kept))
    table = figures(run_tool('evaluate_features.py', *given)[1])
    assert table['color histogram']['20-NN'][0] == 12.3  # of the file
    linear = next(line for line in lines if line['features'] == str(path) and line['measure'] == 'linear')
    assert table[str(path)]['linear'][0] == pytest.approx(linear['value'], abs=0.06)  # measured, and added
    assert len(out.read_text().splitlines()) == len(lines)
    other = figures(run_tool('evaluate_features.py', *given, '--seed', 1)[1])
    assert other['color histogram']['20-NN'][0] != 12.3  # of another split
    assert len(out.read_text().splitlines()) == 2 * len(lines)


def test_floors_of_each_network_and_size_have_rows_of_their_own(checkpoint, make_config, scenes, run_tool, tmp_path):
    """Two networks of one class, of which the second has other pixels too: no row takes another's place."""
    path, _ = checkpoint
    config = cmid_config()
    config['backbone']['base_channels'] = 16
    config['neck']['in_channels'] = config['local_head']['in_channels'] = 128
    config['reconstruction_head']['in_channels'] = 128
    model = MODELS.build(config['backbone'] | dict(type='mmpretrain.ResNet'))
    weights = {f'backbone.{name}': value for name, value in model.state_dict().items()}
    text = make_config(model=config).pretty_text.replace('size=64', 'size=48')
    meta = dict(cfg=text, evaluated='student', mmengine_version='0.10.7')
    torch.save(dict(state_dict=weights, meta=meta), tmp_path / 'other.pth')
    given = [path, tmp_path / 'other.pth', '--data', scenes, '--few', '--workers', 0]
    code, output = run_tool('evaluate_features.py', *given)
    assert code == 0, output
    floors = ['color histogram', 'band statistics', 'random ResNet', 'random ResNet, BatchNorm measured']
    both = {*floors, *(f'{floor} (of {tmp_path / "other.pth"})' for floor in floors)}
    assert set(figures(output)) == both | {str(path), str(tmp_path / 'other.pth')}


def test_lists_of_several_labels_and_given_test_images(checkpoint, scenes, run_tool, tmp_path):
    path, _ = checkpoint
    for name, numbers in (('train', range(12)), ('test', range(12, 20))):
        lines = [
            f'{folder}/{number:02d}.png {label},{label % 2 + 4}'
            for label, folder in enumerate(SCENE_CLASSES[:4])
            for number in numbers
        ]
        (tmp_path / f'{name}.txt').write_text('\n'.join(lines))
    lists = ['--data', tmp_path / 'train.txt', '--test', tmp_path / 'test.txt', '--root', scenes, '--workers', 0]
    code, output = run_tool('evaluate_features.py', path, *lists)
    assert code == 0, output
    assert '48 labelled images, 32 test images (seed 0), 6 labels; mean average precision in %' in output
    assert list(figures(output)[str(path)]) == ['5-NN', '20-NN', '5-NN weighted', '20-NN weighted', 'linear']
    lists[3] = tmp_path / 'train.txt'
    code, output = run_tool('evaluate_features.py', path, *lists)
    assert code == 1
    assert re.search(r'error: .*00.png of --test is the same image as .*00.png, which is among the labelled', output)
    (tmp_path / 'link').symlink_to(scenes)
    code, output = run_tool('evaluate_features.py', path, '--data', scenes, '--test', tmp_path / 'link')
    assert code == 1
    assert re.search(r'error: .*link/.*00.png of --test is the same image as', output)
    code, output = run_tool('evaluate_features.py', path, '--data', scenes, '--test', lists[1], '--root', scenes)
    assert code == 1
    assert 'error: --test has several labels an image, --data one label an image; expected the same' in output


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        (['--mean', '1', '1', '1'], 'give both --mean and --std, or neither'),
        (['--vector', 'class'], 'ResNet has no class token; take the mean'),
        (['--bands', '0', '1', '2', '3'], r'3 bands'),
        (['--out', 'results.csv'], r'expected a name that ends in .jsonl'),
    ],
)
def test_bad_options(checkpoint, scenes, run_tool, change, error):
    code, output = run_tool('evaluate_features.py', checkpoint[0], '--data', scenes, '--workers', 0, *change)
    assert code == 1
    assert re.search(error, output.rsplit('\nerror: ', 1)[1])


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        (['--few', '0'], "argument --few: '0'; expected a whole number of at least 1"),
        (['--size', '-3'], "argument --size: '-3'; expected a whole number of at least 1"),
        (['--seed', 'x'], "argument --seed: 'x'; expected a whole number of at least 0"),
    ],
)
def test_bad_numbers(checkpoint, scenes, run_tool, change, error):
    code, output = run_tool('evaluate_features.py', checkpoint[0], '--data', scenes, *change)
    assert code == 2
    assert error in output


def test_of_few_images_what_can_be_measured_is(checkpoint, scenes, run_tool, tmp_path):
    path, _ = checkpoint
    lines = [f'{folder}/{number:02d}.png {folder}' for folder in SCENE_CLASSES[:4] for number in range(6)]
    (tmp_path / 'few.txt').write_text('\n'.join(lines))
    given = ['--data', tmp_path / 'few.txt', '--root', scenes, '--few', '--workers', 0]
    code, output = run_tool('evaluate_features.py', path, *given)
    assert code == 0, output
    assert '20-NN: left out, there are 12 labelled images' in output
    assert 'linear: C is 1, too few classes have the four labelled images' in output
    assert list(figures(output)[str(path)]) == ['5-NN', '5-NN weighted', 'linear']


def test_pixels_unlike_those_of_pre_training_are_told(checkpoint, scenes, run_tool):
    statistics = ['--mean', '0.4', '0.4', '0.4', '--std', '0.2', '0.2', '0.2']
    given = [checkpoint[0], '--data', scenes, '--few', '--workers', 0, *statistics]
    code, output = run_tool('evaluate_features.py', *given)
    assert code == 0, output
    assert 'warning: pixels are far from what was pre-trained on; look at --mean' in output


def test_export_for_torchgeo_bench_needs_no_data(make_config, run_tool, tmp_path):
    backbone = dict(type='ResNet', depth=18, zero_init_residual=False)
    model = cmid_config()
    model.update(backbone=backbone)
    network = MODELS.build(dict(backbone, type='mmpretrain.ResNet'))
    meta = dict(cfg=make_config(model=model).pretty_text, evaluated='student', mmengine_version='0.10.7')
    weights = {f'backbone.{name}': value for name, value in network.state_dict().items()}
    torch.save(dict(state_dict=weights, meta=meta), tmp_path / 'run.pth')
    out = tmp_path / 'bench'
    code, output = run_tool('evaluate_features.py', tmp_path / 'run.pth', '--export-torchgeo-bench', out)
    assert code == 0, output
    written = {path for path in out.rglob('*') if path.is_file()}
    assert {path.suffix for path in written} == {'.pth', '.py', '.yaml', '.md'}
    assert all(str(path) in output for path in written)
    code, output = run_tool('evaluate_features.py', tmp_path / 'run.pth')
    assert code == 2
    assert 'give --data, or --export-torchgeo-bench' in output


@pytest.mark.slow
def test_two_processes_find_the_same(checkpoint, scenes, run_tool):
    path, _ = checkpoint
    given = [str(path), '--data', str(scenes), '--few', '--workers', '0', '--device', 'cpu']
    alone = figures(run_tool('evaluate_features.py', *given)[1])
    command = [Path(sys.executable).with_name('torchrun'), '--standalone', '--nproc_per_node=2']
    found = subprocess.run(
        [*command, 'tools/evaluate_features.py', *given], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert figures(found.stdout) == alone
