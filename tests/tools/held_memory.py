"""A hook that writes down what a training and its data workers hold."""

import os
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def held() -> list[list[int]]:
    """Resident bytes and open files of this process and its data workers, each by itself."""
    pids = [os.getpid(), *children(os.getpid())]
    pages = [int(Path(f'/proc/{pid}/statm').read_text().split()[1]) for pid in pids]
    return [[4096 * count for count in pages], [len(list(Path(f'/proc/{pid}/fd').iterdir())) for pid in pids]]


@HOOKS.register_module(force=True)
class HeldMemoryHook(Hook):
    """Adds a line to a file every ``interval`` iterations, after all other hooks."""

    priority = 'LOWEST'

    def __init__(self, file: str, interval: int) -> None:
        self.file, self.interval = Path(file), interval

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if (runner.iter + 1) % self.interval == 0:
            with self.file.open('a') as file:
                file.write(f'{held()}\n')
