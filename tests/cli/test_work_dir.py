"""What a run does with the checkpoints that its work dir holds already."""

import time

import pytest
import torch
from mmengine.config import Config

from mmrs_ssl.cli.making_room import MakesRoom, settings_kept
from mmrs_ssl.cli.work_dir import check_load_from, held_work_dir
from mmrs_ssl.engine.checkpoint_files import list_checkpoints
from tests.engine.test_checkpoint_files import flipped, save
from tests.loopback import serve


def config(folder, **more):
    return Config(dict(work_dir=str(folder), load_from=None, resume=False, **more))


def refused(error, words, *args):
    with pytest.raises(error, match=words), held_work_dir(*args):
        raise AssertionError('it was not refused')


@pytest.mark.parametrize('replaced', [False, True])
def test_settings_are_given_back_to_the_same_checkpoints_alone(tmp_path, replaced):
    checkpoint, settings, new = (tmp_path / name for name in ('epoch_1.pth', 'recipe.py', 'config.py'))
    checkpoint.write_text('of the first run')
    settings.write_text('first')
    time.sleep(0.02)  # so that the times of the files differ
    with settings_kept([checkpoint], [settings, new]):
        settings.write_text('second')
        new.write_text('second')
        aside = checkpoint.rename(tmp_path / 'aside')
        if replaced:
            aside.unlink()
            checkpoint.write_text('of the first run')  # as a rule by the number that has become free
        else:
            aside.rename(checkpoint)
    assert settings.read_text() == ('second' if replaced else 'first')
    assert new.exists() == replaced


def test_checkpoints_are_not_written_over_unless_that_is_said(tmp_path):
    for epoch in (1, 2):
        save(tmp_path / f'epoch_{epoch}.pth', 4 * epoch, epoch)
    save(tmp_path / 'interim.pth', 9, 2)
    (tmp_path / 'last_checkpoint').write_text('epoch_2.pth')
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'best_accuracy_epoch_1.pth')
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'backbone.pth')
    with (
        pytest.raises(FileExistsError, match=r'3 checkpoints .*interim\.pth, epoch_2\.pth.*--resume.*--overwrite'),
        held_work_dir(config(tmp_path), None, False),
    ):
        raise AssertionError
    assert len(list(tmp_path.glob('*.pth'))) == 5
    refused(ValueError, 'one of both', config(tmp_path), 'auto', True)
    with held_work_dir(cfg := config(tmp_path), None, True) as room:
        assert not cfg.resume
        assert len(list(tmp_path.glob('*.pth'))) == 5
        room.set_aside()
        assert [path.name for path in tmp_path.glob('*.pth')] == ['backbone.pth']
        assert len(list(tmp_path.glob('.*.overwritten'))) == 5
        room.after_train_iter(None, 0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ['.lock', 'backbone.pth']
    with held_work_dir(config(tmp_path), None, False):  # exported weights are in nobody's way
        pass


def test_a_run_that_does_not_start_overwrites_nothing(tmp_path, capsys):
    """Its end, whatever it was, gives the files their names back; one that was killed leaves them aside."""
    for epoch in (1, 2):
        save(tmp_path / f'epoch_{epoch}.pth', 4 * epoch, epoch)
    before = {path.name: path.read_bytes() for path in tmp_path.glob('*.pth')}

    def fail(room):
        room.set_aside()
        assert not list(tmp_path.glob('*.pth'))
        raise RuntimeError('no memory')

    with pytest.raises(RuntimeError, match='no memory'), held_work_dir(config(tmp_path), None, True) as room:
        fail(room)
    assert {path.name: path.read_bytes() for path in tmp_path.glob('*.pth')} == before
    assert not list(tmp_path.glob('.*.overwritten'))
    killed = MakesRoom(list(tmp_path.glob('*.pth')))
    killed.set_aside()
    capsys.readouterr()
    with held_work_dir(cfg := config(tmp_path), 'auto', False) as room:
        assert cfg.load_from is None
        said = capsys.readouterr().err
        assert '(a run with --overwrite that did not start left .epoch_1.pth.overwritten, .epoch_2.pth.over' in said
        save(tmp_path / 'epoch_1.pth')
        room.after_train_iter(None, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.lock', 'epoch_1.pth']


@pytest.mark.parametrize(
    'settings',
    [
        lambda file: dict(load_from=file),
        lambda file: dict(custom_hooks=[dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint=file)]),
        lambda file: dict(model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=file)))),
    ],
)
def test_what_a_run_starts_from_is_not_overwritten(tmp_path, settings):
    path = save(tmp_path / 'epoch_2.pth')
    cfg = Config(dict(work_dir=str(tmp_path), **settings(f'{tmp_path}/./{path.name}')))
    with (
        pytest.raises(
            ValueError, match=r'--overwrite would remove .*epoch_2\.pth, which this run starts from \((.*)\)'
        ),
        held_work_dir(cfg, None, True) as room,
    ):
        room.check(cfg)
    with held_work_dir(cfg, None, True) as room:
        room.check(Config(dict(load_from=str(tmp_path / 'epoch_3.pth'))))


def test_the_furthest_is_so_by_epochs(tmp_path):
    """After twice the batch, or twice the processes, an epoch has half as many iterations."""
    for name, iteration, epoch, length in (
        ('epoch_1.pth', 4, 1, 4),
        ('epoch_2.pth', 8, 2, 4),
        ('epoch_3.pth', 6, 3, 2),
        ('interim.pth', 7, 3, 2),
    ):
        save(tmp_path / name, meta=dict(iter=iteration, epoch=epoch, epoch_length=length))
    order = ['interim.pth', 'epoch_3.pth', 'epoch_2.pth', 'epoch_1.pth']
    assert [each.path.name for each in list_checkpoints(tmp_path)] == order
    with held_work_dir(cfg := config(tmp_path), 'auto', False):
        assert cfg.load_from == str(tmp_path / 'interim.pth')
    words = r'2 checkpoints of an earlier run further than epoch_2\.pth \(interim\.pth, epoch_3\.pth\)'
    refused(FileExistsError, words, config(tmp_path), str(tmp_path / 'epoch_2.pth'), False)


def test_an_address_in_last_checkpoint(tmp_path):
    """Whoever has written the folder has written it: it is followed to where the config saves, and nowhere else."""
    pointer = tmp_path / 'last_checkpoint'
    hooks = dict(default_hooks=dict(checkpoint=dict(out_dir='http://127.0.0.1:9/runs/')))
    for address, more in (
        ('http://127.0.0.1:9/runs/a.pth', {}),
        ('http://127.0.0.1:9/runs.example/a.pth', hooks),
        ('http://127.0.0.1:9/runs/../a.pth', hooks),
    ):
        pointer.write_text(f'{address}\n')
        words = rf"last_checkpoint names '{address}', which does not lie in default_hooks\.checkpoint\.out_dir"
        refused(ValueError, words, config(tmp_path, **more), 'auto', False)
    pointer.write_text('http://127.0.0.1:9/runs/work/a.pth')
    refused(OSError, r'/runs/work/a\.pth cannot be fetched', config(tmp_path, **hooks), 'auto', False)


def test_resume_from_an_address(tmp_path, monkeypatch):
    """It is checked as a file is, and says as much."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    with serve(tmp_path) as (address, asked):
        save(tmp_path / 'epoch_1.pth', meta=dict(iter=4, epoch=1, seed=77))
        with held_work_dir(cfg := config(tmp_path / 'work', randomness=dict()), f'{address}/epoch_1.pth', False):
            assert (cfg.resume, cfg.load_from) == (True, f'{address}/epoch_1.pth')
            assert cfg.randomness.seed == 77
        assert len(asked) == 1
        save(tmp_path / 'best.pth', optimizer=None)
        words = rf'^--resume {address}/best\.pth: it has no optimizer'
        refused(ValueError, words, config(tmp_path / 'work'), f'{address}/best.pth', False)


def test_resume_takes_the_newest_that_is_whole(tmp_path, capsys):
    """With or without ``last_checkpoint``, which may be lost, or point to where the folder was before."""
    for epoch in (1, 2, 3):
        save(tmp_path / f'epoch_{epoch}.pth', 4 * epoch, epoch)
    (tmp_path / 'last_checkpoint').write_text('/moved/away/epoch_3.pth')
    with held_work_dir(cfg := config(tmp_path), 'auto', False):
        assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'epoch_3.pth'))
    (tmp_path / 'last_checkpoint').unlink()
    flipped(tmp_path / 'epoch_3.pth')
    (tmp_path / 'epoch_2.pth').write_bytes(b'')
    capsys.readouterr()
    with held_work_dir(
        cfg := config(
            tmp_path,
        ),
        'auto',
        False,
    ):
        assert cfg.load_from == str(tmp_path / 'epoch_1.pth')
    said = capsys.readouterr().err
    assert 'passed over' in said
    assert 'epoch_2.pth is empty' in said
    assert 'epoch_3.pth is damaged' in said
    (tmp_path / 'epoch_1.pth').write_text('text')
    with (
        pytest.raises(ValueError, match=r'none of the 3 checkpoints .*epoch_1\.pth'),
        held_work_dir(config(tmp_path), 'auto', False),
    ):
        raise AssertionError


def test_resume_where_nothing_is_yet(tmp_path, capsys):
    with held_work_dir(cfg := config(tmp_path / 'new'), 'auto', False):
        assert not cfg.resume
    assert 'starts from the beginning' in capsys.readouterr().err


def test_named_files(tmp_path):
    path = save(tmp_path / 'epoch_1.pth')
    with held_work_dir(cfg := config(tmp_path / 'work'), str(path), False):
        assert (cfg.resume, cfg.load_from) == (True, str(path))
    cfg = config(tmp_path / 'work')
    cfg.update(resume=True, load_from=str(path))  # the config says so itself
    with held_work_dir(cfg, None, False):
        assert cfg.load_from == str(path)
    flipped(path)
    with (
        pytest.raises(ValueError, match=r'epoch_1\.pth is damaged'),
        held_work_dir(config(tmp_path / 'work'), str(path), False),
    ):
        raise AssertionError
    cfg = config(tmp_path / 'work')
    cfg.load_from = str(path)
    with pytest.raises(ValueError, match=r'epoch_1\.pth is damaged'):
        check_load_from(cfg)


def test_a_work_dir_that_cannot_be(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with (
        pytest.raises(OSError, match=r'the work dir .*file/work cannot be written to .*--work-dir'),
        held_work_dir(config(tmp_path / 'file' / 'work'), None, False),
    ):
        raise AssertionError


def test_going_back_leaves_no_later_checkpoint(tmp_path):
    """It would be taken for the newest of the run that went back."""
    paths = [save(tmp_path / f'epoch_{epoch}.pth', 4 * epoch, epoch) for epoch in (1, 2, 3)]
    words = r'2 checkpoints of an earlier run further than epoch_1\.pth \(epoch_3\.pth, epoch_2\.pth\)'
    refused(FileExistsError, words, config(tmp_path), str(paths[0]), False)
    assert all(path.exists() for path in paths)
    with held_work_dir(config(tmp_path / 'other'), str(paths[0]), False):
        pass
    with held_work_dir(config(tmp_path), str(paths[0]), True) as room:
        room.set_aside()
        room.after_train(None)
    assert [path.exists() for path in paths] == [True, False, False]


def test_checkpoints_in_a_folder_of_their_own(tmp_path):
    """As ``out_dir`` of the hook has it; an absolute path may be of before the work dir was moved."""
    (tmp_path / 'work').mkdir()
    (tmp_path / 'out').mkdir()
    save(tmp_path / 'out' / 'epoch_3.pth', 12, 3)
    (tmp_path / 'work' / 'last_checkpoint').write_text(str(tmp_path / 'out' / 'epoch_3.pth'))
    with held_work_dir(cfg := config(tmp_path / 'work'), 'auto', False):
        assert cfg.load_from is None
    (tmp_path / 'work' / 'last_checkpoint').write_text('../out/epoch_3.pth')
    with held_work_dir(cfg := config(tmp_path / 'work'), 'auto', False):
        assert cfg.load_from.endswith('out/epoch_3.pth')


def test_the_hooks_own_folder_is_the_runs_too(tmp_path):
    """It is not written over, and searched without ``last_checkpoint``."""
    (tmp_path / 'out' / 'work').mkdir(parents=True)
    save(tmp_path / 'out' / 'work' / 'epoch_3.pth', 12, 3)
    options = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', out_dir=str(tmp_path / 'out'))))
    refused(FileExistsError, r'epoch_3\.pth', config(tmp_path / 'work', **options), None, False)
    with held_work_dir(cfg := config(tmp_path / 'work', **options), 'auto', False):
        assert cfg.load_from.endswith('out/work/epoch_3.pth')


def test_a_random_seed_is_the_checkpoints(tmp_path):
    """Samplers are built with it, before mmengine takes it over."""
    save(tmp_path / 'epoch_1.pth', meta=dict(iter=4, epoch=1, seed=77))
    with held_work_dir(cfg := config(tmp_path, randomness=dict(seed=None)), 'auto', False):
        assert cfg.randomness.seed == 77
    with held_work_dir(cfg := config(tmp_path, randomness=dict(seed=3)), 'auto', False):
        assert cfg.randomness.seed == 3
