"""Write what version 0.1 computes: ``python tests/compatibility/write.py OUT.json``, in a checkout of that version.

``version_0_1.json`` was written so at commit 4f0157e. Models are given their weights by the names of these, so a few
numbers stand for whole checkpoints; options have the names they had. In a later checkout
``python tests/compatibility/write.py OUT.json tests/compatibility/version_0_1.json`` writes what that one computes with
checkpoints of 0.1: on one machine the same file, but for MSSDF, which has another form since: of it the backbones.
"""

import hashlib
import json
import sys
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

import mmrs_ssl  # noqa: F401
from mmrs_ssl.transfer.export import export_backbone

BANDS = dict(type='mmrs_ssl.BandPreprocessor', mean=[100.0, 90.0, 80.0], std=[50.0, 45.0, 40.0])
BACKBONES: dict[str, tuple[dict, int, int]] = dict(
    resnet=(dict(type='ResNet', depth=18, stem_channels=4, base_channels=4), 32, 32),
    wide=(dict(type='ResNet', depth=50, stem_channels=4, base_channels=8, expansion=2), 128, 32),
    convnext=(
        dict(type='ConvNeXt', arch=dict(depths=[1] * 4, channels=[4, 8, 16, 32]), gap_before_final_norm=False),
        32,
        32,
    ),
    swin=(
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
    vit=(
        dict(
            type='VisionTransformer',
            arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
            img_size=64,
            patch_size=16,
            patch_cfg=dict(padding=0),
            out_type='featmap',
        ),
        32,
        16,
    ),
)


def head(width: int, **options: Any) -> dict:
    """A small prototype head."""
    sizes = dict(in_channels=width, hidden_channels=16, bottleneck_channels=8, num_prototypes=12)
    return dict(type='mmrs_ssl.PrototypeHead', **sizes, **options)


def cmid(backbone: str, byol: bool = False) -> dict:
    """A small CMID."""
    net, width, stride = BACKBONES[backbone]
    projector = dict(in_channels=width, hid_channels=16, out_channels=8)
    config = dict(
        type='mmrs_ssl.CMID',
        data_preprocessor=BANDS,
        backbone=net,
        neck=dict(type='MoCoV2Neck', **projector),
        global_head=dict(type='mmrs_ssl.QueueContrastHead', channels=8, queue_length=16),
        local_head=head(width, batch_norm=backbone == 'resnet'),
        reconstruction_head=dict(type='mmrs_ssl.PixelReconstructionHead', in_channels=width, stride=stride),
    )
    if byol:
        norm = dict(norm_cfg=dict(type='BN1d'), with_last_bn=False, with_last_bias=True, with_bias=True)
        config['neck'] = dict(type='NonLinearNeck', **projector, **norm)
        predictor = dict(in_channels=8, hid_channels=8, out_channels=8, with_avg_pool=False)
        config['global_head'] = dict(
            type='mmrs_ssl.PredictionHead', predictor=dict(type='NonLinearNeck', **predictor, **norm)
        )
    return config


def dino(backbone: str) -> dict:
    """A small DINO-MC; a ViT has patches of 8 pixels and class tokens."""
    net, width, _ = BACKBONES[backbone]
    vit = dict(patch_size=8, out_type='cls_token') if backbone == 'vit' else {}
    return dict(
        type='mmrs_ssl.DINOMC',
        data_preprocessor=BANDS,
        backbone={**net, **vit},
        head=head(width),
        centre_momentum=0.8,
        teacher_temperature=0.05,
    )


def mssdf(**options: Any) -> dict:
    """A small MSSDF of colors and heights."""
    modalities = dict(rgb=dict(mean=BANDS['mean'], std=BANDS['std']), dsm=dict(mean=[5.0], std=[4.0]))
    return dict(
        type='mmrs_ssl.MSSDF',
        data_preprocessor=dict(type='mmrs_ssl.ModalityPreprocessor', modalities=modalities),
        backbone=BACKBONES['vit'][0],
        decoder_channels=24,
        decoder_heads=2,
        **options,
    )


MODELS_OF_0_1: dict[str, dict] = {
    **{f'cmid {name}': cmid(name) for name in ('resnet', 'convnext', 'swin', 'vit')},
    'cmid resnet byol': cmid('resnet', byol=True),
    **{f'dino-mc {name}': dino(name) for name in ('resnet', 'wide', 'swin', 'vit')},
    'mssdf vit': mssdf(gives_way='dsm', normalise_targets='whiten'),
    'mssdf vit shortcuts': mssdf(shortcuts=True, independence='predictions', normalise_targets='tokens'),
}


def weight(name: str, shape: tuple[int, ...], like: torch.dtype) -> torch.Tensor:
    """A weight or buffer by its name: small noise, positive where a norm divides or scales by it."""
    rng = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    noise = torch.randn(shape, generator=rng)
    if not like.is_floating_point:
        return torch.zeros(shape, dtype=like)
    if name.endswith(('running_var', 'original0')):
        return 1 + 0.1 * noise.abs()
    if name.endswith('global_head.queue'):
        return torch.nn.functional.normalize(noise, dim=1)
    return 0.2 * noise + (1 if len(shape) == 1 and name.endswith('weight') else 0)


def batch_of(method: str) -> dict:
    """Four samples, as a loader would collate them."""
    rng = torch.Generator().manual_seed(1)

    def pixels(side: int, bands: int = 3) -> torch.Tensor:
        return torch.randint(0, 256, (4, bands, side, side), generator=rng, dtype=torch.uint8)

    samples = [DataSample() for _ in range(4)]
    if method == 'mssdf':
        return dict(inputs=dict(rgb=pixels(64), dsm=12 * torch.rand(4, 1, 64, 64, generator=rng)), data_samples=samples)
    if method == 'dino-mc':
        return dict(inputs=[pixels(64), pixels(64), pixels(40), pixels(32)], data_samples=samples)
    for number, sample in enumerate(samples):
        sample.boxes = torch.tensor([[0.0, 0.0, 80.0, 80.0], [10.0 + number, 20.0, 60.0, 70.0]])
        sample.flips = torch.tensor([number % 2 == 0, number % 3 == 0])
    return dict(inputs=[pixels(64), pixels(64)], data_samples=samples)


def features_of(model: Any) -> dict[str, torch.Tensor]:
    """Pooled features of the last step."""
    return model.monitor().features if hasattr(model, 'monitor') else model.features


def numbers(values: torch.Tensor) -> list[float]:
    """A few that stand for all: sum, sum of squares, and the first ones."""
    flat = values.detach().double().flatten()
    return [float(flat.sum()), float((flat**2).sum()), *flat[:4].tolist()]


def computed(name: str, config: dict, shapes: dict[str, list] | None = None) -> dict[str, Any]:
    """What a model computes with a checkpoint of weights of these types and shapes, by default the model's own."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model: Any = MODELS.build(config)
    if shapes is None:
        own = model.state_dict()
        shapes = {key: [str(value.dtype).removeprefix('torch.'), *value.shape] for key, value in own.items()}
    state = state_of(shapes)
    model.load_state_dict(dict(state))
    model.teacher_is_updated = True
    model.train()
    data = model.data_preprocessor(batch_of(name.split()[0]), True)
    torch.manual_seed(2)
    losses = model.loss(**data)
    sum(losses.values()).backward()
    gradient = next(model.backbone.parameters()).grad
    found = dict(
        state=shapes,
        losses={key: value.item() for key, value in losses.items()},
        features={key: numbers(value) for key, value in features_of(model).items()},
        gradient=numbers(gradient),
    )
    return found | exported(config, state)


def exported(config: dict, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What the export makes of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:  # what a run of this version saves, as far as the export reads it
        text = f'model = {config!r}\n'
        torch.save(dict(state_dict=state, meta=dict(cfg=text)), f'{folder}/run.pth')
        meta = export_backbone(f'{folder}/run.pth', f'{folder}/backbone.pth', branch='student')
        backbone = torch.load(f'{folder}/backbone.pth', weights_only=True)['state_dict']
    sums = {key: hashlib.sha256(value.numpy().tobytes()).hexdigest()[:12] for key, value in sorted(backbone.items())}
    return dict(
        exported=hashlib.sha256(json.dumps(sums).encode()).hexdigest(),
        meta={key: value for key, value in meta.items() if key not in ('config_sha256', 'backbone')},
    )


def state_of(shapes: dict[str, list]) -> dict[str, torch.Tensor]:
    """Weights and buffers of these types and shapes."""
    return {key: weight(key, tuple(shape[1:]), getattr(torch, shape[0])) for key, shape in shapes.items()}


if __name__ == '__main__':
    warnings.simplefilter('ignore')
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(1)
    known = json.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else {}
    everything = {
        name: exported(config, state_of(known[name]['state']))
        if name in known and name.startswith('mssdf')
        else computed(name, config, known.get(name, {}).get('state'))
        for name, config in MODELS_OF_0_1.items()
    }
    Path(sys.argv[1]).write_text(json.dumps(everything, indent=None, separators=(',', ':')) + '\n')
