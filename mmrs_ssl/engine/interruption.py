"""Notice that a run is to end, and let all its processes act on it at the same step."""

import os
import signal
import threading
from contextlib import suppress
from enum import IntEnum
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size
from torch import Tensor

# EX_TEMPFAIL of sysexits.h: run it again, with --resume.
EXIT_CODE = 75
_PARENT = os.getppid()  # of the start: torchrun may be gone before the training begins
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)


class Interrupted(SystemExit):
    """Ends a run that was asked to end and has saved where it stood; the exit code is 75."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


class Wish(IntEnum):
    """What a process would have happen at the end of a step; the highest of all processes counts."""

    NOTHING = 0
    SAVE = 1
    STOP = 2


class Signals:
    """Notes SIGTERM, SIGUSR1, SIGHUP and a first Ctrl-C instead of dying of them; a second Ctrl-C ends at once.

    A signal that is ignored, as SIGHUP is under ``nohup``, stays ignored. Processes that are forked meanwhile, as data
    workers and the pools of libraries' metrics are, have the signals as they were before. A process that torchrun has
    started also notes when torchrun is gone.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._launcher = _PARENT if 'TORCHELASTIC_RUN_ID' in os.environ else None
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Take the signals over; Python allows that to the main thread alone."""
        if threading.current_thread() is not threading.main_thread():
            return
        for stale in list(_listening):  # of a run of this process that failed
            stale.ignore()
        for kind in SIGNALS:
            if signal.getsignal(kind) is not signal.SIG_IGN:
                self._before[kind] = signal.signal(kind, self._note)
        _listening.append(self)

    def _note(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and self.received is not None:
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number).name
        text = f'{signal.Signals(number).name}: this step is finished and saved, then the run ends'
        more = '; Ctrl-C once more ends it at once, unsaved' if number == signal.SIGINT else ''
        os.write(2, f'\n{text}{more}\n'.encode())  # print could be in the middle of a line

    def pending(self) -> str | None:
        """Tell why the run is to end, or None."""
        if self.received is None and self._launcher is not None and os.getppid() != self._launcher:
            self.received = 'torchrun is gone'
        return self.received

    def ignore(self) -> None:
        """Give the signals back to who had them before."""
        for kind, handler in self._before.items():
            signal.signal(kind, handler)
        self._before.clear()
        if self in _listening:
            _listening.remove(self)


_listening: list[Signals] = []


def _hold_back() -> None:
    if _listening:  # Python forgets what a child receives before it runs
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _let_through() -> None:
    if _listening:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def keep_children_apart() -> None:
    """Start what is forked from now on in process groups of its own, as it is while signals are listened to anyway.

    A signal that is meant for the training, like Ctrl-C in a terminal or a scheduler's, goes to its whole group, and
    data workers that die of it take the step with them that was to be finished. A loop without epochs starts them
    before anything listens.
    """
    _apart.append(True)


_apart: list[bool] = []


def _start_child() -> None:
    if _apart or _listening:
        with suppress(OSError):
            os.setpgid(0, 0)
    if _listening:
        for each in list(_listening):
            each.ignore()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_start_child)


class Agreement:
    """Finds the highest wish of all processes at every step, without waiting for a device.

    With several processes the answer is that of the step before: the processes talk while they compute, in a gloo group
    of their own.
    """

    def __init__(self) -> None:
        self.group = dist.new_group(backend='gloo') if get_world_size() > 1 else None
        self._asked: tuple[Any, Tensor] | None = None

    def highest(self, wish: Wish) -> Wish:
        """Return what is to happen now; every process calls it once a step."""
        if self.group is None:
            return wish
        decided = self.finish()
        value = torch.tensor([int(wish)])
        self._asked = dist.all_reduce(value, dist.ReduceOp.MAX, group=self.group, async_op=True), value
        return decided

    def finish(self) -> Wish:
        """Wait for the last answer."""
        if self._asked is None:
            return Wish.NOTHING
        work, value = self._asked
        self._asked = None
        work.wait()
        return Wish(int(value))

    def meet(self) -> None:
        """Wait until all processes are here."""
        if self.group is not None:
            dist.barrier(group=self.group)
