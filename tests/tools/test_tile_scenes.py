"""tools/tile_scenes.py: tiles, what it says, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.archives.test_tiling import PLACE, draw, write
from tests.loopback import serve


def test_tool(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    scenes, labels, out = tmp_path / 'img', tmp_path / 'ann', tmp_path / 'out'
    for index in range(4):
        write(scenes / f's{index}.tif', draw((3, 100, 64 + 10 * index), 'uint8', index), **PLACE)
        write(labels / f's{index}.png', draw((1, 100, 64 + 10 * index), 'uint8', index))
    write(scenes / 'tiny.tif', draw((3, 20, 100), 'uint8'))
    write(labels / 'tiny.png', draw((1, 20, 100), 'uint8'))
    request = ('tile_scenes.py', scenes, '--labels', labels, '--out', out, '--size', 64, '--val-share', 0.25)
    code, said = run_tool(*request)
    assert code == 0
    files = {split: sorted((out / 'img_dir' / split).iterdir()) for split in ('train', 'val')}
    assert f'{len(files["train"])} training and {len(files["val"])} validation tiles' in said
    assert sum(map(len, files.values())) == 2 * 1 + 3 * 4
    assert {path.stem[:2] for path in files['train']} | {path.stem[:2] for path in files['val']} == {
        's0',
        's1',
        's2',
        's3',
    }
    assert 'passed over 1 scenes smaller than a tile' in said
    assert 'tiny.tif (100 x 20)' in said
    assert {path.suffix for path in out.rglob('*') if path.is_file()} == {'.tif', '.png'}
    for split in files:
        assert [path.stem for path in sorted((out / 'ann_dir' / split).iterdir())] == [
            path.stem for path in files[split]
        ]
    code, said = run_tool(*request)
    assert code == 1
    assert said.splitlines()[-1] == f'error: {out} is not an empty folder; choose another one or add --overwrite'
    assert run_tool(*request, '--overwrite')[0] == 0
    code, said = run_tool('tile_scenes.py', scenes, '--out', tmp_path / 'new', '--size', 64, '--max-nodata', 2)
    assert code == 1
    assert '--max-nodata is 2.0' in said.splitlines()[-1]
    code, said = run_tool('tile_scenes.py', scenes, '--out', tmp_path / 'new', '--size', 64, '--stride', 0)
    assert code == 1
    assert 'size is 64 and stride 0' in said.splitlines()[-1]
    assert not (tmp_path / 'new').exists()


def test_tool_asks_the_network_only_if_told_to(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    write(tmp_path / 'served' / 'a.tif', draw((3, 64, 64), 'uint8'))
    with serve(tmp_path / 'served') as (address, asked):
        request = ('tile_scenes.py', f'{address}/a.tif', '--out', tmp_path / 'out', '--size', 32)
        code, said = run_tool(*request)
        assert code == 1
        assert 'lies on the network' in said.splitlines()[-1]
        assert not asked
        assert run_tool(*request, '--allow-remote')[0] == 0
        assert asked
    assert len(list((tmp_path / 'out/img_dir/train').glob('a_*.tif'))) == 4
