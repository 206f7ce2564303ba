"""What a run does with the checkpoints that its work dir holds already."""

import pytest
import torch
from mmengine.config import Config

from mmrs_ssl.cli.work_dir import check_load_from, held_work_dir
from tests.engine.test_checkpoint_files import flipped, save


def config(folder, **more):
    return Config(dict(work_dir=str(folder), load_from=None, resume=False, **more))


def refused(error, words, *args):
    with pytest.raises(error, match=words), held_work_dir(*args):
        raise AssertionError('it was not refused')


def test_checkpoints_are_not_written_over_unless_that_is_said(tmp_path):
    for epoch in (1, 2):
        save(tmp_path / f'epoch_{epoch}.pth', 4 * epoch, epoch)
    (tmp_path / 'last_checkpoint').write_text('epoch_2.pth')
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'best_accuracy_epoch_1.pth')
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'backbone.pth')
    with (
        pytest.raises(FileExistsError, match=r'2 checkpoints .*epoch_2\.pth, epoch_1\.pth.*--resume.*--overwrite'),
        held_work_dir(config(tmp_path), None, False),
    ):
        raise AssertionError
    assert len(list(tmp_path.glob('*.pth'))) == 4
    refused(ValueError, 'one of both', config(tmp_path), 'auto', True)
    with held_work_dir(cfg := config(tmp_path), None, True) as make_room:
        assert not cfg.resume
        assert len(list(tmp_path.glob('*.pth'))) == 4  # until the new run is known to start
        make_room()
    assert [file.name for file in tmp_path.iterdir() if file.name[0] != '.'] == ['backbone.pth']
    with held_work_dir(config(tmp_path), None, False):  # exported weights are in nobody's way
        pass


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
    with held_work_dir(config(tmp_path), str(paths[0]), True) as make_room:
        make_room()
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
