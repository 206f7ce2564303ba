"""Make configs, models and batches of what ``tools/gpu_check.py`` measures, in the size of the machine."""

import copy
import gc
import os
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from mmrs_ssl.benchmarks.gpu_table import Deadline
from mmrs_ssl.benchmarks.inputs import make_loader, write_images
from mmrs_ssl.benchmarks.measure import DEVICE
from mmrs_ssl.benchmarks.steps import Step
from mmrs_ssl.models.quiet import quiet
from mmrs_ssl.shipped_configs import get_config

# method -> one of its published configs
METHODS = {
    'CMID MoCo': 'cmid/cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px',
    'CMID BYOL': 'cmid/cmid_resnet50-byol_4xb64-amp-coslr-200e_millionaid-224px',
    'DINO-MC': 'dino_mc/dino-mc_resnet50_4xb64-amp-coslr-300e_seco-224px',
    'DINO-TP': 'dino_mc/dino-tp_resnet50_4xb64-amp-coslr-300e_seco-224px',
    'MSSDF': 'mssdf/mssdf_vit-base_8xb64-amp-coslr-500e_hr-pairs-320px',
}
# family -> (backbone, channels of its last map)
MEDIUM: dict[str, tuple[dict, int]] = {
    # of 50 layers with BatchNorm, untrained and on few images, the gradients would be mostly rounding
    'ResNet': (dict(type='ResNet', depth=18, zero_init_residual=False), 512),
    'Swin': (dict(type='mmrs_ssl.PaddedSwinTransformer', arch='tiny', drop_path_rate=0.1), 768),
    'ViT': (dict(type='VisionTransformer', arch='deit-small', patch_size=16, drop_path_rate=0.1), 384),
    'ConvNeXt': (dict(type='ConvNeXt', arch='tiny', drop_path_rate=0.1), 768),
}
SMALL: dict[str, tuple[dict, int]] = {
    'ResNet': (dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, zero_init_residual=False), 64),
    'Swin': (
        dict(
            type='mmrs_ssl.PaddedSwinTransformer',
            arch=dict(embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
            img_size=64,
            window_size=2,
            drop_path_rate=0.1,
        ),
        128,
    ),
    'ViT': (
        dict(
            type='VisionTransformer',
            arch=dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=128),
            img_size=64,
            patch_size=16,
            drop_path_rate=0.1,
        ),
        64,
    ),
    'ConvNeXt': (dict(type='ConvNeXt', arch=dict(depths=[1] * 4, channels=[8, 16, 32, 64]), drop_path_rate=0.1), 64),
}
SMALL_SIDE = 64


def families(method: str) -> tuple[str, ...]:
    """List the backbones that a method runs with; MSSDF leaves masked patches out, which a ViT alone can do."""
    return ('ViT',) if method == 'MSSDF' else tuple(MEDIUM)


def rounds() -> list[tuple[str, str]]:
    """List methods with backbones: every method with its first, then every one with its second, and so on.

    Where time runs out, none is left out altogether.
    """
    return [
        (method, families(method)[place])
        for place in range(len(MEDIUM))
        for method in METHODS
        if place < len(families(method))
    ]


def method_config(method: str, family: str, small: bool) -> Config:
    """Read a published config, change its backbone and prototypes; for a CPU also make images and networks small."""
    cfg = get_config(METHODS[method])
    settings, width = (SMALL if small else MEDIUM)[family]
    backbone = dict(settings)
    vit, dino = family == 'ViT', method.startswith('DINO')
    if vit:
        backbone.update(patch_cfg=dict(padding=0), out_type='cls_token' if dino else 'featmap')
        if dino:
            backbone['patch_size'] = 8
    if family == 'ConvNeXt':
        backbone['gap_before_final_norm'] = False
    if method == 'MSSDF':
        backbone.pop('drop_path_rate')
        backbone['img_size'] = SMALL_SIDE if small else 320
    cfg.model.backbone = backbone
    change = dict(CMID=change_cmid, DINO=change_dino, MSSD=change_mssdf)[method[:4]]
    change(cfg.model, family, width, small)
    if small:
        shrink_images(cfg.train_dataloader.dataset)
    return cfg


def change_cmid(model: Any, family: str, width: int, small: bool) -> None:
    """Change the parts of CMID that depend on its backbone, and make them small if asked."""
    model.neck.in_channels = width
    model.local_head.update(in_channels=width, num_prototypes=1024, batch_norm=family == 'ResNet')
    model.reconstruction_head.update(in_channels=width, stride=16 if family == 'ViT' else 32)
    if small:
        model.mask_block = 16
        model.neck.hid_channels = 64
        model.local_head.update(hidden_channels=64, bottleneck_channels=32, num_prototypes=64)
    if model.global_head.type.endswith('QueueContrastHead'):
        model.global_head.queue_length = 512 if small else 4096


def change_dino(model: Any, family: str, width: int, small: bool) -> None:
    """Change the parts of DINO-MC that depend on its backbone, and make them small if asked."""
    del family
    model.head.update(in_channels=width, num_prototypes=4096)
    if small:
        model.head.update(hidden_channels=64, bottleneck_channels=32, num_prototypes=64)


def change_mssdf(model: Any, family: str, width: int, small: bool) -> None:
    """Make fusion and decoder narrower."""
    del family, width
    if small:
        model.update(fusion=dict(channels=48, heads=2, layers=1), decoder=dict(heads=2, layers=1))
    else:
        model.update(fusion=dict(channels=192))


def shrink_images(dataset: Any) -> None:
    """Let a data set of windows or images, and all transforms in it, give views of ``SMALL_SIDE`` pixels at most."""
    if 'window' in dataset:
        dataset.window = SMALL_SIDE + 8
    steps = list(dataset.pipeline)
    while steps:
        step = steps.pop()
        if isinstance(step, list):
            steps += step
            continue
        steps += step.get('views', [])
        if step.type.endswith(('MultiSizeCrops', 'TemporalCrops')):
            step.update(global_size=SMALL_SIDE, local_sizes=(48, 40))
        elif 'size' in step:
            step.size = SMALL_SIDE


def mixed_settings(cfg: Config, dtype: str) -> dict[str, Any]:
    """Make the config's optimizer wrapper for mixed precision; float16 with a dynamic loss scale, on a CPU bfloat16."""
    settings = {**cfg.optim_wrapper, 'type': 'AmpOptimWrapper', 'dtype': dtype}
    settings['loss_scale'] = 'dynamic' if dtype == 'float16' else 1.0
    if DEVICE == 'cpu':  # which mmengine's wrapper refuses
        settings['type'] = 'mmrs_ssl.CPUAmpOptimWrapper'
        del settings['dtype'], settings['loss_scale']
    return settings


def fit_machine(cfg: Config) -> None:
    """Let a published config train here: without a GPU in bfloat16, and with no more workers than processor cores."""
    if DEVICE == 'cpu':
        cfg.optim_wrapper = mixed_settings(cfg, 'bfloat16')
    cfg.train_dataloader.num_workers = min(cfg.train_dataloader.num_workers, os.cpu_count() or 1)


class Workshop:
    """What the rows share: where to work, images, and the models of the row before.

    Args:
        folder: for files that may go afterwards.
        small: networks and images for a CPU.
        images: a folder of images for the training at the end; generated ones by default.
        deadline: of everything.
    """

    def __init__(self, folder: Path, small: bool, images: str | None, deadline: Deadline) -> None:
        self.folder = folder
        self.small = small
        self.images = images
        self.deadline = deadline
        self.too_large: dict[str, int] = {}  # config -> the smallest batch that did not fit
        self._written: dict[str, dict[str, Any]] = {}
        self._step: tuple[str, Step] | None = None

    def dataset(self, cfg: Config, count: int = 8) -> dict[str, Any]:
        """Build the config's data set over generated images, ``count`` at least."""
        dataset = copy.deepcopy(cfg.train_dataloader.dataset)
        kind = str([dataset.get(name) for name in ('type', 'files', 'band_files', 'window')])
        if kind not in self._written:
            folder = Path(tempfile.mkdtemp(dir=self.folder))  # a row that ran out of time may have left another one
            write_images(cfg, dataset, folder, count)
            changes = {name: dataset[name] for name in ('files', 'max_value') if name in dataset}
            self._written[kind] = dict(changes, data_root=str(folder))
        return {**dataset, **self._written[kind]}

    def batch(self, cfg: Config, size: int, distinct: int = 8) -> dict[str, Any]:
        """Make a collated batch of the config's own views, on the CPU; beyond ``distinct`` the images repeat."""
        count = min(size, distinct)
        source = copy.deepcopy(cfg)
        source.train_dataloader.dataset = self.dataset(cfg, distinct)
        root = source.train_dataloader.dataset.data_root
        batch = next(make_loader(source, Namespace(images=root, batch_size=count), self.folder))
        return repeated(batch, size)

    def step(self, name: str, cfg: Config) -> Step:
        """Build the model and optimizer of a config, and keep them for the next row of the same name."""
        if self._step is None or self._step[0] != name:
            self.clear()
            with quiet():
                self._step = name, Step(cfg)
        return self._step[1]

    def clear(self) -> None:
        """Forget the models of the row before, and give their memory back."""
        self._step = None
        if DEVICE == 'cuda':
            gc.collect()
            torch.cuda.empty_cache()


def repeated(batch: dict[str, Any], size: int) -> dict[str, Any]:
    """Make a batch of ``size`` samples, those of the given batch again and again."""
    samples = batch['data_samples']
    times = -(-size // len(samples))

    def repeat(view: Tensor) -> Tensor:
        return torch.cat([view] * times)[:size]

    return dict(inputs=mapped(batch['inputs'], repeat), data_samples=(list(samples) * times)[:size])


def mapped(views: Any, change: Any) -> Any:
    """Apply ``change`` to each tensor of views (a list, or a dict of modalities)."""
    if isinstance(views, dict):
        return {name: change(view) for name, view in views.items()}
    return [change(view) for view in views]
