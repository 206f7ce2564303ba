"""Runs of a program of tools/ in processes of their own, that can be killed, and what is left of them.

They are forked from the test's, so that the libraries are imported once.
"""

import os
import runpy
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.utils.cpp_extension  # mmengine's, for every run's log
from mmengine.logging import HistoryBuffer

import mmrs_ssl.cli.checks.quick  # the tools', where they are used
import mmrs_ssl.cli.train  # noqa: F401
from tests.conftest import ROOT


class Run:
    """A program of tools/ in one or several processes, which talk by gloo; what they print goes to a file."""

    def __init__(self, log: Path, tool: str, *args: object, ranks: int = 1) -> None:
        self.log = log
        self.codes: list[int] | None = None
        env: dict[str, str] = {}
        if ranks > 1:
            with socket.socket() as free:
                free.bind(('127.0.0.1', 0))
                env = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free.getsockname()[1]), WORLD_SIZE=str(ranks))
            args = (*args, '--launcher', 'pytorch')
        self.pids = [
            self._fork(tool, args, env | (dict(RANK=str(rank), LOCAL_RANK=str(rank)) if env else {}))
            for rank in range(ranks)
        ]

    def _fork(self, tool: str, args: tuple, env: dict[str, str]) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        if pid := os.fork():
            return pid
        code = 1
        try:
            os.setpgid(0, 0)  # a signal to the group does not reach the test
            out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout = open(1, 'w', closefd=False, buffering=1)  # noqa: SIM115
            sys.stderr = open(2, 'w', closefd=False, buffering=1)  # noqa: SIM115
            os.environ.update(env)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            warnings.resetwarnings()  # they are errors to the tests, not to users
            sys.argv = [tool, *map(str, args)]
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            # torch raises wherever the process is when a data worker ends badly; a child that left here by an exception
            # would go on as a second test process
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                sys.stderr.flush()
            finally:
                os._exit(code)

    def signal(self, kind: int, rank: int = 0) -> None:
        """Send a signal to one process."""
        os.kill(self.pids[rank], kind)

    def kill(self) -> None:
        """End all processes as a power cut would."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = 120) -> list[int]:
        """Return the exit codes, negative for a signal; a run that does not end is killed and fails."""
        codes, end = [], time.monotonic() + seconds
        for pid in self.pids:
            while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                if time.monotonic() > end:
                    for each in self.pids:
                        os.kill(each, signal.SIGKILL)
                    raise TimeoutError(f'still running after {seconds} s:\n{self.log.read_text()[-2000:]}')
                time.sleep(0.005)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        self.codes = codes
        return codes

    def running(self) -> bool:
        """Tell whether the first process still runs."""
        return os.waitid(os.P_PID, self.pids[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def until(self, true: Callable[[], Any], seconds: float = 60) -> None:
        """Wait until something is true, while the run goes on."""
        end = time.monotonic() + seconds
        while not true():
            assert self.running(), self.log.read_text()[-2000:]
            assert time.monotonic() < end, self.log.read_text()[-2000:]
            time.sleep(0.001)


def differences(first: Any, second: Any, path: str = '') -> list[str]:
    """List all entries in which two checkpoints differ, bit by bit; times and paths are nobody's business."""
    if path.endswith(('time', '/memory', '/eta', '/experiment_name', '/last_ckpt', '/cfg')):
        return []
    if type(first) is not type(second):
        return [path]
    if isinstance(first, dict):
        wrong = [f'{path}/{key}' for key in first.keys() ^ second.keys()]
        return wrong + [
            w for k in first.keys() & second.keys() for w in differences(first[k], second[k], f'{path}/{k}')
        ]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [path]
        return [w for i, pair in enumerate(zip(first, second, strict=True)) for w in differences(*pair, f'{path}/{i}')]
    if isinstance(first, HistoryBuffer):
        return [] if all(map(_equal, first.data, second.data)) else [path]
    return [] if _equal(first, second) else [path]


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return first.shape == second.shape and first.numpy().tobytes() == second.numpy().tobytes()
    if hasattr(first, 'tobytes'):
        return first.shape == second.shape and first.tobytes() == second.tobytes()
    return bool(first == second)


def load(path: Path) -> Any:
    """A checkpoint."""
    return torch.load(path, map_location='cpu', weights_only=True)
