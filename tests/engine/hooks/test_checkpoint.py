"""Checkpoints by minutes and on signals, of the end of a step, in files that are whole."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from mmrs_ssl.engine.hooks import SafeCheckpointHook
from tests.conftest import TestProbe, cmid_config, log_of, train
from tests.forked import Run, load

PLAIN = "custom_hooks = [hook for hook in _base_.custom_hooks if 'Picture' not in hook['type']]\n"
PROBED = f"{PLAIN}custom_hooks.append(dict(type='TestProbe'))\n"
WORKERS = 'train_dataloader.update(num_workers=2, persistent_workers=True)\n'


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir() if path.is_file() and path.suffix != '.py')


def resumable(cfg, **checkpoint):
    cfg.train_cfg.type = 'mmrs_ssl.ResumableTrainLoop'
    cfg.default_hooks.checkpoint.update(checkpoint)
    return cfg


def test_minutes_keep_one_file_and_push_none_out(make_config):
    cfg = resumable(make_config(PLAIN), minutes=1e-9, max_keep_ckpts=2)
    cfg.train_cfg.max_epochs = 3
    seen = []

    def look(runner):
        if runner.iter % 4 == 2:
            seen.append((names(runner.work_dir), load(Path(runner.work_dir, 'interim.pth'))['meta']['iter']))

    train(cfg, after_train_iter=look)
    assert seen[0] == (['interim.pth', 'last_checkpoint'], 3)
    assert seen[2] == (['epoch_1.pth', 'epoch_2.pth', 'interim.pth', 'last_checkpoint'], 11)
    assert names(cfg.work_dir) == ['epoch_2.pth', 'epoch_3.pth', 'last_checkpoint']  # the training is further than it
    assert Path(cfg.work_dir, 'last_checkpoint').read_text() == 'epoch_3.pth'
    meta = load(Path(cfg.work_dir, 'epoch_3.pth'))['meta']
    expected = dict(iter=12, epoch=3, epoch_length=4, world_size=1)
    assert {key: meta[key] for key in expected} == expected


def test_none_by_the_minute(make_config):
    cfg = resumable(make_config(PLAIN), minutes=None)
    seen = []
    train(cfg, after_train_iter=lambda runner: seen.append(names(runner.work_dir)))
    assert seen == [[]] * 4 + [['epoch_1.pth', 'last_checkpoint']] * 4
    with pytest.raises(ValueError, match='SafeCheckpointHook: minutes=0, expected a number above 0, or None'):
        SafeCheckpointHook(minutes=0)


@pytest.mark.parametrize(
    ('by_epoch', 'expected'),
    [(True, ['epoch_1.pth', 'epoch_2.pth']), (False, ['iter_10.pth', 'iter_4.pth', 'iter_6.pth'])],
)
def test_what_falls_due_between_two_steps_waits_for_the_end_of_one(make_config, by_epoch, expected):
    """Five iterations an epoch, of which two make a step."""
    cfg = resumable(make_config(PLAIN), by_epoch=by_epoch, interval=1 if by_epoch else 3)
    cfg.train_dataloader.batch_size = 3
    cfg.optim_wrapper.accumulative_counts = 2
    train(cfg)
    assert [name for name in names(cfg.work_dir) if name != 'last_checkpoint'] == expected
    positions = [[load(Path(cfg.work_dir, name))['meta'][key] for key in ('epoch', 'iter')] for name in expected]
    assert positions == ([[1, 6], [2, 10]] if by_epoch else [[1, 10], [0, 4], [1, 6]])


def test_the_old_one_goes_when_the_new_one_stands(make_config, tmp_path):
    """A write that fails in its middle, as on a full disk: the error says which file and what is left."""
    cfg = make_config(PROBED)

    def limit(runner):
        if runner.epoch == 1:  # RLIMIT_FSIZE: a file may not grow beyond it
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            size = Path(runner.work_dir, 'epoch_1.pth').stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    TestProbe.calls = dict(before_train_iter=lambda runner, batch: limit(runner))
    run = Run(tmp_path / 'log', 'train.py', cfg.filename, '--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=1')
    assert run.wait() == [1]
    error = run.log.read_text().rsplit('\nerror: ', 1)[1]
    assert f'{cfg.work_dir}/epoch_2.pth' in error
    assert f'{cfg.work_dir}/epoch_1.pth' in error
    assert names(cfg.work_dir)[:2] == ['.lock', 'epoch_1.pth']
    assert load(Path(cfg.work_dir, 'epoch_1.pth'))['meta']['iter'] == 4


@pytest.mark.parametrize(
    'kind',
    [
        signal.SIGTERM,
        signal.SIGINT,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGUSR1, signal.SIGHUP)),
    ],
)
def test_a_signal_saves_and_ends(make_config, tmp_path, kind):
    """It comes inside a step, to the training and its data workers, as schedulers and terminals send it."""
    cfg = make_config(PROBED + WORKERS)

    def send(runner, batch):
        if runner.iter == 5:
            os.killpg(0, kind)

    TestProbe.calls = dict(before_train_iter=send)
    run = Run(tmp_path / 'log', 'train.py', cfg.filename)
    assert run.wait() == [75], run.log.read_text()[-3000:]
    interim = Path(cfg.work_dir, 'interim.pth')
    assert Path(cfg.work_dir, 'interrupted').read_text().splitlines() == [str(interim), kind.name]
    assert load(interim)['meta']['iter'] == 6
    log = log_of(cfg.work_dir)
    assert f'interrupted ({kind.name}): saved {interim} at epoch 2, iteration 6; go on with --resume' in log
    if kind != signal.SIGTERM:
        return
    TestProbe.calls = {}
    run = Run(tmp_path / 'log', 'train.py', cfg.filename, '--resume')
    assert run.wait() == [0], run.log.read_text()[-3000:]
    assert names(cfg.work_dir) == ['.lock', 'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint']


def test_ctrl_c_twice_ends_at_once(make_config, tmp_path):
    def send(runner, batch):
        if runner.iter == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    cfg = make_config(PROBED)
    TestProbe.calls = dict(before_train_iter=send)
    run = Run(tmp_path / 'log', 'train.py', cfg.filename)
    assert run.wait() == [1]
    assert 'KeyboardInterrupt' in run.log.read_text()
    assert names(cfg.work_dir) == ['.lock', 'epoch_1.pth', 'last_checkpoint']


def test_an_ignored_signal_stays_ignored_and_all_are_given_back(make_config):
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train(make_config(PLAIN), after_train_iter=lambda runner: os.kill(os.getpid(), signal.SIGHUP))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, old)
    assert {kind: signal.getsignal(kind) for kind in before} == before


def test_processes_that_are_forked_while_training_can_be_ended(make_config):
    """As the pools of libraries' metrics are, by SIGTERM."""
    ended, handlers = [], []

    def fork(runner):
        handlers.append([signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)])
        process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
        process.start()
        process.terminate()
        process.join(20)
        ended.append(process.exitcode)
        process.kill()

    own = signal.getsignal(signal.SIGTERM)
    train(make_config(PLAIN), after_train_epoch=fork)
    assert ended == [-signal.SIGTERM] * 2
    for term, usr1, hup in handlers:  # what one of these does, the others do
        assert term == usr1 == hup != own


def test_mmengines_own_resume_finds_the_newest_and_runs_nothing(make_config, tmp_path):
    """As ``mim train`` starts it: without the tools' loop, from a folder that was moved."""
    cfg = make_config(PLAIN)
    train(cfg)
    work = tmp_path / 'moved'
    Path(cfg.work_dir).rename(work)
    path = work / 'epoch_1.pth'
    content = load(path)
    content['meta']['config'] = f"import pathlib\npathlib.Path('{tmp_path}/ran').touch()\ngpu_ids = [0, 1, 2]\n"
    torch.save(content, path)
    (work / 'epoch_2.pth').write_bytes(b'')
    cfg = make_config(PLAIN)
    cfg.work_dir, cfg.resume = str(work), True
    runner = train(cfg)
    assert runner.iter == 8
    assert not (tmp_path / 'ran').exists()
    assert 'epoch_2.pth is empty' in log_of(work)
    assert load(work / 'epoch_2.pth')['meta']['iter'] == 8


def test_a_loop_that_would_begin_the_epoch_again_is_refused(make_config):
    cfg = resumable(make_config(PLAIN), by_epoch=False, interval=3)
    train(cfg)
    again = make_config(PLAIN)
    again.update(load_from=f'{cfg.work_dir}/iter_6.pth', resume=True)
    with pytest.raises(ValueError, match=r"2 iterations inside epoch 2.*type='mmrs_ssl.ResumableTrainLoop'"):
        train(again)


def test_best_weights_go_when_better_ones_stand(make_config, tmp_path):
    """mmengine's own hook removes them first."""
    runner = Runner.from_cfg(make_config(PLAIN))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook = SafeCheckpointHook(save_best='accuracy', rule='greater')
    hook.before_train(runner)
    hook._save_best_checkpoint(runner, dict(accuracy=0.5))
    (first,) = Path(runner.work_dir).glob('best_*.pth')
    standing, save = [], runner.save_checkpoint

    def watched(out_dir, filename, **options):
        standing.append((first.exists(), filename))
        save(out_dir, filename, **options)

    runner.save_checkpoint = watched
    first = first.rename(first.with_name('best_accuracy_epoch_00.pth'))
    hook.best_ckpt_path = str(first)
    hook._save_best_checkpoint(runner, dict(accuracy=0.6))
    hook.after_train(runner)
    assert standing == [(True, '.best_accuracy_epoch_0.pth.part')]  # it is put into its place when it is whole
    assert not first.exists()


def test_a_folder_is_not_removed_in_the_place_of_best_weights(make_config):
    """Even one that is called so."""
    runner = Runner.from_cfg(make_config(PLAIN))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook = SafeCheckpointHook(save_best='accuracy', rule='greater')
    hook.before_train(runner)
    folder = Path(runner.work_dir, 'best_accuracy_epoch_9.pth')
    folder.mkdir()
    hook.best_ckpt_path = str(folder)
    hook._save_best_checkpoint(runner, dict(accuracy=0.6))
    hook.after_train(runner)
    assert folder.is_dir()
    assert Path(runner.work_dir, 'best_accuracy_epoch_0.pth').is_file()


def test_configs_of_cmid_still_take_mmengines_hook(make_config):
    cfg = make_config(PLAIN, model=cmid_config())
    cfg.default_hooks.checkpoint.type = 'CheckpointHook'
    train(cfg)
    assert names(cfg.work_dir) == ['epoch_1.pth', 'epoch_2.pth', 'last_checkpoint']
