"""Train data-parallel on machines without a GPU, whose processes talk by gloo; collect what several processes have."""

import ctypes
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

import torch
from mmengine.dist import all_gather, get_world_size
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn

from mmrs_ssl.engine.gathered_batch_norm import gather_batch_norms
from mmrs_ssl.registry import MODEL_WRAPPERS

PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """Wrap a model as mmengine does, but without devices; SyncBN, which needs a GPU, becomes one of ours."""

    def __init__(
        self, module: nn.Module, device_ids: list[int] | None = None, find_unused_parameters: bool = False
    ) -> None:
        del device_ids  # mmengine's Runner gives a device to every data-parallel wrapper
        super().__init__(
            gather_batch_norms(module), broadcast_buffers=False, find_unused_parameters=find_unused_parameters
        )


def start_gloo() -> None:
    """Join the process group that torchrun describes in the environment.

    mmengine's ``init_dist`` would select a CUDA device, which a machine without one refuses; it leaves a group alone
    that exists already. Data workers, which inherit the connections, end with their process: the others would else not
    notice its end for seconds.
    """
    torch.distributed.init_process_group(backend='gloo')
    os.register_at_fork(after_in_child=end_with_parent)


def end_with_parent(parent: int | None = None) -> None:
    """Let the system kill this process when its parent ends, however that ends (on Linux; elsewhere nothing).

    Args:
        parent: its process id; if it has ended already, so does this process, which would else wait for it for good.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def gather_rows(rows: Tensor) -> list[Tensor]:
    """Collect rows (N, ...) of all processes, by rank; every process must call this, N may differ between them.

    The host waits for the device if there are several processes.
    """
    if get_world_size() == 1:
        return [rows]
    counts = torch.cat(all_gather(torch.tensor([len(rows)]))).tolist()
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    return [part[:count] for part, count in zip(all_gather(padded), counts, strict=True)]


def gather_tables(tables: Sequence[Tensor]) -> list[list[Tensor]]:
    """Collect several tables (N, D) of all processes, in about as many transfers as :func:`gather_rows` takes for one.

    Every process must call this with as many tables of the same D; N may differ between processes and tables.

    Returns:
        of every table what each process has, by rank.
    """
    if get_world_size() == 1:
        return [[table] for table in tables]
    counts = torch.stack(all_gather(torch.tensor([len(table) for table in tables]))).tolist()
    found: list[list[Tensor]] = [[] for _ in tables]
    for lengths, values in zip(counts, gather_rows(torch.cat([table.flatten() for table in tables])), strict=True):
        sizes = [length * table.shape[1] for length, table in zip(lengths, tables, strict=True)]
        for own, table, part in zip(found, tables, values.split(sizes), strict=True):
            own.append(part.view(-1, table.shape[1]).to(table.dtype))
    return found
