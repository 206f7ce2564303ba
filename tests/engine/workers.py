"""What tests/engine/test_distributed.py runs: two steps of a tiny CMID on each process's share of a fixed batch.

A program of its own that forks its processes, so that the libraries are imported once for both.
"""

import os
import sys
from multiprocessing import get_context
from pathlib import Path

import torch
from mmengine.dist import get_dist_info

from mmrs_ssl.engine import CPUDistributedDataParallel, start_gloo
from mmrs_ssl.models.algorithms import cmid
from tests.conftest import BACKBONES, build_cmid, make_batch

STEPS, BATCH = 2, 4
DRAWN_MASK = cmid.block_mask


def share(step: int) -> tuple[dict, torch.Tensor]:
    """This process's part of a step's batch, and of the two views' masks (2, B, 2, 2)."""
    rank, world = get_dist_info()
    part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    batch = make_batch(BATCH, seed=step)
    generator = torch.Generator().manual_seed(step)
    masks = torch.rand(2, BATCH, 4, generator=generator).argsort(dim=2).view(2, BATCH, 2, 2) < 3
    inputs = [view[part] for view in batch['inputs']]
    return dict(inputs=inputs, data_samples=batch['data_samples'][part]), masks[:, part]


def steps() -> dict[str, torch.Tensor]:
    """Gradients of both steps, losses averaged over the processes, and the state afterwards."""
    config = build_cmid('vit')
    config.reconstruction_head.spectral_weight = 0.0  # its spectrum is averaged over the batch before it is squared
    distributed = torch.distributed.is_initialized()
    model = CPUDistributedDataParallel(config) if distributed else config
    inner = model.module if distributed else model
    model.train()
    optimizer = torch.optim.SGD([p for p in inner.parameters() if p.requires_grad], lr=0.5)
    found = {}
    for step in range(STEPS):
        batch, masks = share(step)
        queue = list(masks)
        cmid.block_mask = lambda count, grid, ratio, device, queue=queue: queue.pop(0)
        data = inner.data_preprocessor(batch, True)
        loss, terms = inner.parse_losses(model(**data, mode='loss'))
        loss.backward()
        for name, value in terms.items():
            value = value.detach().clone()
            if distributed:
                torch.distributed.all_reduce(value)
                value /= torch.distributed.get_world_size()
            found[f'step{step}/term/{name}'] = value
        for name, parameter in inner.named_parameters():
            if parameter.requires_grad:
                found[f'step{step}/grad/{name}'] = parameter.grad.clone()
        optimizer.step()
        optimizer.zero_grad()
        inner.update_teacher()
        found |= {f'step{step}/state/{name}': value.clone() for name, value in inner.state_dict().items()}
    return found


def families() -> None:
    """Two training steps of every family: DDP raises in the second if a parameter took no part in the first."""
    cmid.block_mask = DRAWN_MASK
    for family in BACKBONES:
        model = CPUDistributedDataParallel(build_cmid(family)).train()
        for _ in range(2):
            data = model.module.data_preprocessor(make_batch(2), True)
            model.module.parse_losses(model(**data, mode='loss'))[0].backward()


def main(rank: int, world: int, port: str, folder: str) -> None:
    """One process."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    torch.set_num_threads(1)
    start_gloo()
    torch.save(steps(), Path(folder) / f'rank{rank}.pth')
    families()
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    processes = [get_context('fork').Process(target=main, args=(rank, 2, *sys.argv[1:])) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in processes))
