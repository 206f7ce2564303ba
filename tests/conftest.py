"""What the tests share: tiny models of every backbone family, and a folder of generated images."""

import os

# Side by side (pytest -n) every process has a processor of its own. With two threads torch 2.13 writes beyond memory
# on processors with AVX-512 and no bfloat16, in a convolution that only the tiny ResNets here have: 1 x 1, 8 channels,
# every second pixel, channels_last, an odd number of images.
os.environ['OMP_NUM_THREADS'] = '1'

import ctypes
import gc
import inspect
import itertools
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

import mmrs_ssl  # noqa: F401
from mmrs_ssl.synthetic.layouts import write_layout

# mmengine formats the text of a config for its log and for every checkpoint: half the time of a short training.
*_, last = inspect.signature(Config.__init__).parameters
assert last == 'format_python_code'
Config.__init__.__defaults__ = (*Config.__init__.__defaults__[:-1], False)

ROOT = Path(__file__).parents[1]
_NUMBER = itertools.count()

# family -> (config, channels of the last map, its stride)
BACKBONES: dict[str, tuple[dict, int, int]] = {
    'resnet': (dict(type='ResNet', depth=18, stem_channels=8, base_channels=8), 64, 32),
    'convnext': (
        dict(type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 32, 64]), gap_before_final_norm=False),
        64,
        32,
    ),
    'swin': (
        dict(
            type='SwinTransformer',
            arch=dict(embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8]),
            img_size=64,
            window_size=2,
            pad_small_map=True,
        ),
        64,
        32,
    ),
    'vit': (
        dict(
            type='VisionTransformer',
            arch=dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=64),
            img_size=64,
            patch_size=16,
            patch_cfg=dict(padding=0),
            out_type='featmap',
        ),
        64,
        16,
    ),
}


def cmid_config(family: str = 'resnet', bands: int = 3, byol: bool = False, **changes: Any) -> dict:
    """A tiny CMID of a backbone family."""
    backbone, width, stride = BACKBONES[family]
    cnn = family == 'resnet'
    config: dict = dict(
        type='mmrs_ssl.CMID',
        data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor', mean=[100.0] * bands, std=[50.0] * bands),
        backbone=dict(backbone),
        neck=dict(type='MoCoV2Neck', in_channels=width, hid_channels=32, out_channels=16),
        global_head=dict(type='mmrs_ssl.QueueContrastHead', channels=16, queue_length=24),
        local_head=dict(
            type='mmrs_ssl.PrototypeHead',
            in_channels=width,
            hidden_channels=32,
            bottleneck_channels=16,
            num_prototypes=24,
            batch_norm=cnn,
        ),
        reconstruction_head=dict(type='mmrs_ssl.PixelReconstructionHead', in_channels=width, stride=stride),
    )
    if byol:
        norm = dict(norm_cfg=dict(type='BN1d'), with_last_bn=False, with_last_bias=True, with_bias=True)
        config['neck'] = dict(type='NonLinearNeck', in_channels=width, hid_channels=32, out_channels=16, **norm)
        predictor = dict(
            type='NonLinearNeck', in_channels=16, hid_channels=8, out_channels=16, with_avg_pool=False, **norm
        )
        config['global_head'] = dict(type='mmrs_ssl.PredictionHead', predictor=predictor)
    config.update(changes)
    return config


def dino_config(family: str = 'resnet', bands: int = 3, **changes: Any) -> dict:
    """A tiny DINOMC of a backbone family; a ViT has patches of 8 pixels and gives class tokens."""
    backbone, width, _ = BACKBONES[family]
    vit = dict(patch_size=8, out_type='cls_token') if family == 'vit' else {}
    config: dict = dict(
        type='mmrs_ssl.DINOMC',
        data_preprocessor=dict(type='mmrs_ssl.BandPreprocessor', mean=[100.0] * bands, std=[50.0] * bands),
        backbone={**backbone, **vit},
        head=dict(
            type='mmrs_ssl.PrototypeHead',
            in_channels=width,
            hidden_channels=32,
            bottleneck_channels=16,
            num_prototypes=24,
        ),
    )
    config.update(changes)
    return config


def mssdf_config(modalities: dict[str, int] | None = None, **changes: Any) -> dict:
    """A tiny MSSDF of modalities with so many bands; a surface model's values are metres, all others 0-255."""
    statistics = {
        name: dict(mean=[5.0], std=[4.0]) if name == 'dsm' else dict(mean=[120.0] * bands, std=[60.0] * bands)
        for name, bands in (modalities or dict(rgb=3, dsm=1)).items()
    }
    backbone = dict(BACKBONES['vit'][0])
    config: dict = dict(
        type='mmrs_ssl.MSSDF',
        data_preprocessor=dict(type='mmrs_ssl.ModalityPreprocessor', modalities=statistics),
        backbone=backbone,
        fusion=dict(channels=24, heads=2),
        decoder=dict(heads=2),
    )
    for key, value in changes.items():
        config[key] = {**config[key], **value} if key in ('fusion', 'decoder') else value
    return config


def make_modalities(modalities: dict[str, int], count: int = 4, size: int = 64, seed: int = 0) -> dict:
    """A collated batch of modalities: metres of a surface model, 8 bits of all others."""
    rng = torch.Generator().manual_seed(seed)
    inputs = {
        name: 12 * torch.rand(count, bands, size, size, generator=rng)
        if name == 'dsm'
        else torch.randint(0, 256, (count, bands, size, size), generator=rng, dtype=torch.uint8)
        for name, bands in modalities.items()
    }
    samples = [DataSample(metainfo=dict(img_path=f'place_{i}.tif')) for i in range(count)]
    return dict(inputs=inputs, data_samples=samples)


def build_cmid(family: str = 'resnet', seed: int = 0, **options: Any) -> torch.nn.Module:
    """The model of :func:`cmid_config`, initialised, ready for a hand-written loop."""
    return build(cmid_config(family, **options), seed)


def build_dino(family: str = 'resnet', seed: int = 0, **options: Any) -> torch.nn.Module:
    """The model of :func:`dino_config`, likewise."""
    return build(dino_config(family, **options), seed)


def build_mssdf(modalities: dict[str, int] | None = None, seed: int = 0, **options: Any) -> torch.nn.Module:
    """The model of :func:`mssdf_config`, likewise."""
    return build(mssdf_config(modalities, **options), seed)


def build(config: dict, seed: int) -> torch.nn.Module:
    """A model, initialised, whose teacher the caller updates."""
    init_default_scope('mmpretrain')
    torch.manual_seed(seed)
    model = MODELS.build(config)
    model.init_weights()
    model.teacher_is_updated = True
    return model


def make_batch(count: int = 4, bands: int = 3, size: int = 64, seed: int = 0) -> dict:
    """A collated batch of two uint8 views whose boxes overlap."""
    rng = torch.Generator().manual_seed(seed)
    views = [torch.randint(0, 256, (count, bands, size, size), generator=rng, dtype=torch.uint8) for _ in range(2)]
    samples = []
    for i in range(count):
        sample = DataSample()
        sample.boxes = torch.tensor([[0.0, 0.0, 80.0, 80.0], [10.0 + i, 20.0, 60.0, 70.0]])
        sample.flips = torch.tensor([i % 2 == 0, i % 3 == 0])
        samples.append(sample)
    return dict(inputs=views, data_samples=samples)


def make_crops(sizes: Sequence[int], count: int = 4, bands: int = 3, seed: int = 0) -> dict:
    """A collated batch of uint8 crops of these sizes."""
    rng = torch.Generator().manual_seed(seed)
    views = [torch.randint(0, 256, (count, bands, size, size), generator=rng, dtype=torch.uint8) for size in sizes]
    return dict(inputs=views, data_samples=[DataSample() for _ in range(count)])


def pytest_collection_finish() -> None:
    """Set apart what imports made: every data set collects garbage, 0.4 s through the libraries' objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def memory_is_given_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """Networks of published size are freed with their runners, and the system gets what training keeps for itself."""
    yield
    if request.node.get_closest_marker('slow'):
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), 'malloc_trim'):
            libc.malloc_trim(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers of rasters are kept in the test's own folder."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def reference_numbers(method: str) -> dict[str, np.ndarray]:
    """Reference numbers of a method's losses, masks and schedules."""
    with np.load(Path(__file__).parent / 'golden' / f'{method}.npz') as file:
        return {key: file[key] for key in file}


@pytest.fixture(scope='session')
def golden() -> dict[str, np.ndarray]:
    """CMID's."""
    return reference_numbers('cmid')


@pytest.fixture(scope='session')
def mssdf_golden() -> dict[str, np.ndarray]:
    """MSSDF's."""
    return reference_numbers('mssdf')


@pytest.fixture(scope='session')
def dino_golden() -> dict[str, np.ndarray]:
    """DINO-MC's and DINO-TP's."""
    return reference_numbers('dino_mc')


@pytest.fixture(scope='session')
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen RGB images in two sub-folders."""
    root = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    for i in range(16):
        folder = root / f'class_{i % 2}'
        folder.mkdir(exist_ok=True)
        coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (100, 90), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / f'{i:02d}.jpg'), image)
    return root


@pytest.fixture(scope='session')
def pair_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen places with RGB and surface height."""
    root = tmp_path_factory.mktemp('pairs')
    write_layout('hr_pairs', root, scenes=16, size=80)
    return root


VIEWS = """dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmrs_ssl.LoadRaster', bands=3),
            dict(type='mmrs_ssl.{}),
            dict(type='mmrs_ssl.PackViews'),
        ],
    )"""
PAIRS = """dict(
        data_root=data_root,
        window=64,
        pipeline=[
            dict(
                type='mmrs_ssl.LoadModalities',
                modalities=dict(rgb=dict(bands=3, nodata=0), dsm=dict(bands=1, height='above_minimum')),
            ),
            dict(type='mmrs_ssl.RandomCropResize', size=64, scale=(0.8, 1.0)),
            dict(type='mmrs_ssl.ColorJitter', prob=0.5, modality='rgb'),
            dict(type='mmrs_ssl.PackModalities'),
        ],
    )"""


@pytest.fixture
def make_config(tmp_path: Path, image_folder: Path, pair_folder: Path) -> Callable[..., Config]:
    """Write a small pre-training config over the shipped ``_base_`` files into ``tmp_path`` and read it.

    Its name is unique, since mmengine keeps one logger and message hub per name.
    """

    # of a method: its schedule and data set among the bases, and its pipeline in small
    methods = {
        'mmrs_ssl.CMID': ('cmid_adan_200e', 'cmid_views_224px', VIEWS.format("CMIDViews', size=64")),
        'mmrs_ssl.DINOMC': (
            'dino_adamw_300e',
            'multi_size_crops_224px',
            VIEWS.format("MultiSizeCrops', global_size=64, local_sizes=(44, 40)"),
        ),
        'mmrs_ssl.MSSDF': ('mssdf_adamw_500e', 'hr_pairs', PAIRS),
    }
    other = ('mssdf_adamw_500e', 'cmid_views_224px', VIEWS.format("CMIDViews', size=64"))

    def make(extra: str = '', model: dict | None = None, data_root: Path | None = None, name: str = 'tiny') -> Config:
        base = ROOT / 'configs' / '_base_'
        model = model or cmid_config()
        schedule, data, dataset = methods.get(model['type'], other)
        several = model['type'] == 'mmrs_ssl.MSSDF'
        decay = "dict(type='CosineAnnealingWeightDecay', eta_min=0.4, by_epoch=True, convert_to_iter_based=True)"
        path = tmp_path / f'{name}_{next(_NUMBER)}.py'
        path.write_text(f"""
_base_ = [
    '{base}/datasets/{data}.py',
    '{base}/schedules/{schedule}.py',
    '{base}/default_runtime.py',
]
data_root = {str(data_root or (pair_folder if several else image_folder))!r}
model = {model!r}
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    dataset={dataset},
)
param_scheduler = [
    dict(type='mmrs_ssl.WarmupLR', share=1 / 2, start_factor=0.01, by_epoch=True, convert_to_iter_based=True),
    dict(type='mmrs_ssl.CosineAfterWarmupLR', share=1 / 2, eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
    {decay if model['type'] == 'mmrs_ssl.DINOMC' else ''}
]
train_cfg = dict(max_epochs=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
work_dir = {str(tmp_path / 'work')!r}
{extra}
""")
        return Config.fromfile(path)

    return make


@pytest.fixture
def run_tool(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a program of tools/ in this process; returns its exit code and what it printed."""

    def run(tool: str, *args: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        code = 0
        try:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capfd.readouterr()
        return code, captured.out + captured.err

    return run


def log_of(work_dir: Path) -> str:
    """The text of the newest log of a work dir."""
    logs = sorted(Path(work_dir).glob('*/*.log'), key=lambda path: path.stat().st_mtime)
    return logs[-1].read_text()


@HOOKS.register_module(force=True)
class TestProbe(Hook):
    """Calls functions of a test from a real run, after all other hooks."""

    __test__ = False
    priority = 'LOWEST'
    calls: ClassVar[dict[str, Callable[..., None]]] = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Pass the runner and the batch on."""
        if 'before_train_iter' in self.calls:
            self.calls['before_train_iter'](runner, data_batch)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Pass the runner on."""
        if 'after_train_iter' in self.calls:
            self.calls['after_train_iter'](runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Pass the runner on."""
        if 'after_train_epoch' in self.calls:
            self.calls['after_train_epoch'](runner)


def train(cfg: Config, **calls: Callable[..., None]) -> Runner:
    """Train a config with a :class:`TestProbe` that makes these calls."""
    TestProbe.calls = calls
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='TestProbe')]
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner
