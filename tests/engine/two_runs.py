"""Real runs on two processes, which tests/engine/test_two_runs.py forks from its own: the libraries are there."""

import os
import signal
import socket
from multiprocessing import get_context
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank

from mmrs_ssl.cli.errors import explain
from mmrs_ssl.engine import start_gloo
from mmrs_ssl.engine.hooks import gradient_shares
from mmrs_ssl.engine.hooks.gradient_shares import gradient_norms
from tests.conftest import train


def monitor(cfg: Config, resume: str | None = None) -> dict:
    """Features of every step and what is logged of them; a checkpoint is saved between two measurements."""
    seen = []

    def look(runner):
        features, choices = runner.model.module.monitor()
        seen.append(features if choices is None else dict(features, choices=choices))
        if runner.iter == 5 and resume is None:
            runner.save_checkpoint(cfg.work_dir, 'alone.pth', by_epoch=False)
            runner.call_hook('before_save_together')
            runner.save_checkpoint(cfg.work_dir, 'together.pth', by_epoch=False)

    if resume:
        cfg.load_from, cfg.resume = resume, True
    runner = train(cfg, after_train_iter=look)
    return dict(seen=seen, logged=logged(runner))


def logged(runner) -> dict[str, list[float]]:
    """Every scalar, as often as it was logged."""
    scalars = runner.message_hub.log_scalars
    return {name.removeprefix('train/'): each.data[0].tolist() for name, each in scalars.items()}


def spoil(runner, batch) -> None:
    """The second process's weights are no numbers from iteration 5 on."""
    if runner.iter == 4 and get_rank() == 1:
        next(runner.model.parameters()).data[0] = float('nan')


def nan(cfg: Config) -> dict:
    """Ended by the loss of the second process."""
    train(cfg, before_train_iter=spoil)
    return {}


def nan_at_save(cfg: Config) -> dict:
    """Likewise, but the first process saves before they look at their losses together."""

    def save(runner):
        if runner.iter == 4:
            runner.save_checkpoint(cfg.work_dir, 'spoilt.pth', by_epoch=False)

    train(cfg, before_train_iter=spoil, after_train_iter=save)
    return {}


def killed(cfg: Config) -> dict:
    """The second process is killed in the middle of the run."""

    def kill(runner, batch):
        if runner.iter == 6 and get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    train(cfg, before_train_iter=kill)
    return {}


def plain(cfg: Config) -> dict:
    """Losses and what the training made."""
    return made(train(cfg))


def made(runner) -> dict[str, torch.Tensor]:
    """Losses of all steps, and the last weights."""
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    return dict(losses=torch.from_numpy(losses), **runner.model.module.state_dict())


def shares(cfg: Config) -> dict:
    """What gradients the terms had in this process and in the log; and the same training without that."""
    own = []
    cfg.experiment_name = 'without'
    without = made(train(cfg.copy()))
    cfg.experiment_name = 'with'

    def norms_of_one(*args):
        own.append(gradient_norms(*args))
        return own[-1].clone()

    gradient_shares.gradient_norms = norms_of_one
    cfg.custom_hooks.append(dict(type='mmrs_ssl.GradientShareHook', interval=2))
    runner = train(cfg)
    return dict(norms=torch.stack(own), logged=logged(runner), state=made(runner), plain=without)


def probed(cfg: Config) -> dict:
    """What is logged of both processes."""
    return dict(logged=logged(train(cfg)))


RUNS = dict(probed=probed, monitor=monitor, nan=nan, nan_at_save=nan_at_save, killed=killed, plain=plain, shares=shares)


def main(rank: int, port: int, cfg: Config, name: str, more: tuple, file: Path) -> None:
    """One process of one run; each takes half of a batch."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    start_gloo()
    cfg.train_dataloader.batch_size //= 2
    cfg.launcher = 'pytorch'
    cfg.model_wrapper_cfg = dict(type='mmrs_ssl.CPUDistributedDataParallel')
    try:
        found = RUNS[name](cfg, *more)
    except Exception as error:
        found = dict(error=type(error).__name__, said=explain(error))
    torch.save(found, file)
    os._exit(0)  # nothing waits for a process that is gone


def two(cfg: Config, name: str, *more: str) -> list[dict | None]:
    """Run on two processes; returns what each found, None of one that was killed."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    files = [Path(f'{cfg.work_dir}_{name}_{rank}.pth') for rank in range(2)]
    starts = [(rank, port, cfg, name, more, file) for rank, file in enumerate(files)]
    processes = [get_context('fork').Process(target=main, args=args) for args in starts]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f'{name}: a process waits for ever')
    return [torch.load(file, weights_only=True) if file.is_file() else None for file in files]
