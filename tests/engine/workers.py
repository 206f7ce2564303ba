"""What tests/engine/test_distributed.py runs: two steps of a tiny model of each method, on each process's share of a
fixed batch, in processes that are forked, so that the libraries are imported once.
"""

import os
import warnings
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from mmengine.dist import get_dist_info
from mmengine.model import convert_sync_batchnorm

from mmrs_ssl.engine import CPUDistributedDataParallel, start_gloo
from mmrs_ssl.models.algorithms import cmid
from mmrs_ssl.models.masks import cross_modal
from tests.conftest import BACKBONES, build_cmid, build_dino, build_mssdf, make_batch, make_crops, make_modalities

STEPS, BATCH = 2, 4
DRAWN_MASKS = cmid.block_mask, cross_modal.draw_mask
MODALITIES = dict(rgb=3, dsm=1)


def own_part() -> slice:
    """Which samples of a batch are this process's."""
    rank, world = get_dist_info()
    return slice(rank * BATCH // world, (rank + 1) * BATCH // world)


def share(step: int) -> tuple[dict, torch.Tensor]:
    """This process's part of a step's batch, and of the two views' masks (2, B, 2, 2)."""
    part = own_part()
    batch = make_batch(BATCH, seed=step)
    generator = torch.Generator().manual_seed(step)
    masks = torch.rand(2, BATCH, 4, generator=generator).argsort(dim=2).view(2, BATCH, 2, 2) < 3
    inputs = [view[part] for view in batch['inputs']]
    return dict(inputs=inputs, data_samples=batch['data_samples'][part]), masks[:, part]


def cmid_model(family: str = 'vit') -> torch.nn.Module:
    """CMID without the term that depends on how a batch is divided."""
    model = build_cmid(family)
    model.reconstruction_head.spectral_weight = 0.0  # its spectrum is averaged over the batch before it is squared
    return model


def cnn_model() -> torch.nn.Module:
    """CMID likewise, of a ResNet whose BatchNorm sees the images of all processes."""
    model = cmid_model('resnet')
    return convert_sync_batchnorm(model, 'torch') if torch.distributed.is_initialized() else model


def cmid_batch(step: int) -> dict:
    """This process's part of a step's batch; its masks are the next ones to be drawn."""
    batch, masks = share(step)
    queue = list(masks)
    cmid.block_mask = lambda count, grid, ratio, device: queue.pop(0)
    return batch


def dino_batch(step: int) -> dict:
    """This process's part of a step's crops."""
    part = own_part()
    batch = make_crops((64, 64, 40), BATCH, seed=step)
    return dict(inputs=[view[part] for view in batch['inputs']], data_samples=batch['data_samples'][part])


def mssdf_model() -> torch.nn.Module:
    """MSSDF without the terms that compare the samples of a process's batch, its teacher close behind the student."""
    terms = dict(alignment=dict(weight=0), independence=dict(weight=0))
    return build_mssdf(MODALITIES, masking=dict(substitution=0.0), terms=terms, teacher_momentum=0.9)


def mssdf_batch(step: int) -> dict:
    """This process's part of a step's batch; its masks are the next ones to be drawn."""
    part = own_part()
    batch = make_modalities(MODALITIES, BATCH, seed=step)
    generator = torch.Generator().manual_seed(step)
    queue = list(torch.rand(len(MODALITIES), BATCH, 16, generator=generator).argsort(dim=2)[:, part] < 12)
    cross_modal.draw_mask = lambda probability, ratio: queue.pop(0)
    inputs = {name: image[part] for name, image in batch['inputs'].items()}
    return dict(inputs=inputs, data_samples=batch['data_samples'][part])


METHODS = dict(
    cmid=(cmid_model, cmid_batch),
    cnn=(cnn_model, cmid_batch),
    dino=(lambda: build_dino('vit'), dino_batch),
    balanced=(lambda: build_dino('vit', balanced=True), dino_batch),
    mssdf=(mssdf_model, mssdf_batch),
)


def draw_masks_again() -> None:
    """Masks are drawn as usual from here on."""
    cmid.block_mask, cross_modal.draw_mask = DRAWN_MASKS


def steps(method: str) -> dict[str, torch.Tensor]:
    """Gradients of both steps, losses averaged over the processes, and the state afterwards."""
    make_model, make_share = METHODS[method]
    config = make_model()
    distributed = torch.distributed.is_initialized()
    model = CPUDistributedDataParallel(config) if distributed else config
    inner = model.module if distributed else model
    model.train()
    optimizer = torch.optim.SGD([p for p in inner.parameters() if p.requires_grad], lr=0.5)
    found = {}
    for step in range(STEPS):
        data = inner.data_preprocessor(make_share(step), True)
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
    draw_masks_again()
    cases = product(BACKBONES, ((build_cmid, make_batch(2)), (build_dino, make_crops((64, 64, 40), 2))))
    models = [(make_model(family), batch) for family, (make_model, batch) in cases]
    for network, batch in (*models, (build_mssdf(MODALITIES), make_modalities(MODALITIES, 2))):
        model = CPUDistributedDataParallel(network).train()
        for _ in range(2):
            data = model.module.data_preprocessor(batch, True)
            model.module.parse_losses(model(**data, mode='loss'))[0].backward()


def main(rank: int, world: int, port: str, folder: str) -> None:
    """One process."""
    warnings.resetwarnings()  # they are errors to the tests, not to users
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    torch.set_num_threads(1)
    start_gloo()
    torch.save({method: steps(method) for method in METHODS}, Path(folder) / f'rank{rank}.pth')
    families()
    torch.distributed.destroy_process_group()


def run_two(port: int, folder: Path) -> list[int | None]:
    """Run both processes and return their exit codes."""
    processes = [get_context('fork').Process(target=main, args=(rank, 2, str(port), str(folder))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    return [process.exitcode for process in processes]
