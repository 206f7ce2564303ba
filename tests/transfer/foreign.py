"""Checkpoints in the exact forms of published programs, with classes of modules that are not there when they are read.

Their networks, where no library has them, are written here from their formulas.
"""

import argparse
import collections
import math
import pathlib
import pickle
import sys
import types
import zipfile
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmrs_ssl.transfer import key_maps
from tests.transfer.backbones import mine, scramble, torchvisions, under, weights_of


@contextmanager
def modules(classes):
    """Put classes into modules of these names, and take the modules away afterwards."""
    made = []
    for path, members in classes.items():
        parts = path.split('.')
        for end in range(1, len(parts) + 1):
            made.append('.'.join(parts[:end]))
            sys.modules[made[-1]] = types.ModuleType(made[-1])
        for member in members:
            member.__module__ = made[-1]
            member.__qualname__ = member.__name__
            setattr(sys.modules[made[-1]], member.__name__, member)
    try:
        yield
    finally:
        for name in made:
            sys.modules.pop(name, None)
    assert not [name for name in made if name in sys.modules]


def archive(path, pickled, storages=None, entries=None, root='archive', compression=zipfile.ZIP_STORED):
    """A file as torch writes it, of a pickle that was made by hand."""
    with zipfile.ZipFile(path, 'w', compression) as file:
        file.writestr(f'{root}/data.pkl', pickled)
        file.writestr(f'{root}/byteorder', 'little')
        file.writestr(f'{root}/version', '3\n')
        for key, data in (storages or {}).items():
            file.writestr(f'{root}/data/{key}', data)
        for name, data in (entries or {}).items():
            file.writestr(name, data)
    return path


def cmid_training(path, family='resnet'):
    """CMID's own training checkpoint: a log of deques in a dictionary, both of classes of its package."""

    class HistoryBuffer(collections.deque):
        """A deque with a format and a count, which its pickle has as its state."""

        def __init__(self, maxlen=None):
            super().__init__(maxlen=maxlen)
            self.count, self.window = 0, 20

    class MetricStroge(dict):
        """A dictionary of buffers, with one more as an attribute."""

        def __init__(self):
            super().__init__()
            self._latest = collections.defaultdict(list)

    student, teacher = mine(family), mine(family, seed=1)
    weights = under('online_encoder.model.', student.state_dict()) | under('branch_encoder.', teacher.state_dict())
    heads = {
        'online_encoder.mask_token': torch.zeros(1),
        'branch_projector.0.weight': torch.zeros(1),
        'queue': torch.zeros(2),
    }
    parameters = [nn.Parameter(torch.ones(3))]
    optimizer = torch.optim.AdamW(parameters)
    parameters[0].sum().backward()
    optimizer.step()
    with modules({'Exploring.utils.metric': [MetricStroge, HistoryBuffer]}):
        log = MetricStroge()
        for name in ('total_loss', 'lr'):
            log[name] = HistoryBuffer(maxlen=100)
            log[name].extend([1.5, np.float64(0.25)])
        log._latest['lr'].append((3, 0.25))
        content = dict(
            epoch=199,
            num_gpus=4,
            model=collections.OrderedDict(weights | heads),
            optimizer=optimizer.state_dict(),
            metric_storage=log,
            hooks=dict(Fp16OptimizerHook=dict(scale=65536.0, growth_factor=2.0, _growth_tracker=12)),
        )
        content['model']._metadata = collections.OrderedDict({'': dict(version=1)})
        torch.save(content, path)
    return student, teacher


def dino_names(family, seed):
    """The state dict of DINO-MC's backbone of a family, and a network that has it; its ResNet is a small one."""
    network = torchvisions('swin', seed) if family == 'swin' else mine(family, seed)
    weights = network.state_dict()
    if family == 'vit':
        weights = key_maps.VIT_TIMM.from_mmpretrain(weights_of(network))
    return {key: value for key, value in weights.items() if not key.startswith('head.')}, network


def dino_head():
    """Names of DINO's head."""
    return {f'head.{name}': torch.zeros(1) for name in ('mlp.0.weight', 'mlp.0.bias', 'last_layer.weight_v')}


def dino_training(path, family):
    """DINO-MC's training checkpoint as submitit starts it: paths among the options, numpy's numbers as rates."""
    student, _ = dino_names(family, 0)
    teacher, network = dino_names(family, 1)
    wrapper = 'module.' if any(key.endswith('running_mean') for key in teacher) else ''
    options = argparse.Namespace(arch=family, lr=0.0005, output_dir=pathlib.PosixPath('/runs/1'), size_crops=[184, 164])
    content = dict(
        student=under('module.', under('backbone.', student) | dino_head()),
        teacher=under(wrapper, under('backbone.', teacher) | dino_head()),
        optimizer=dict(state={}, param_groups=[dict(lr=np.float64(5e-4), weight_decay=np.float64(0.04), params=[0])]),
        epoch=300,
        args=options,
        dino_loss=dict(center=torch.zeros(1, 8)),
    )
    torch.save(content, path)
    return content, network


class BeitAttention(nn.Module):
    """Attention whose queries and values have biases, and whose keys have none."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, tokens):
        q, k, v = F.linear(tokens, self.qkv.weight).chunk(3, -1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q + self.q_bias, k, v + self.v_bias))
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


class MssdfEncoder(nn.Module):
    """MSSDF's encoder, unmasked: 1-D sines that are no weights, and a position of the class token that is one."""

    def __init__(self, size=64, width=64, depth=2, heads=2, hidden=64):
        super().__init__()
        self.patch_embed = nn.Sequential()
        self.patch_embed.proj = nn.Conv2d(3, width, 16, 16)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.cls_embed = nn.Embedding(1, width)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            block = nn.Module()
            block.norm1, block.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
            block.attn, block.mlp = BeitAttention(width, heads), nn.Module()
            block.mlp.fc1, block.mlp.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
            self.blocks.append(block)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.sines = sines((size // 16) ** 2, width)

    def forward(self, image):
        """Return the map of the last block (B, C, H, W), in a tuple as backbones do."""
        grid = self.patch_embed.proj(image)
        tokens = grid.flatten(2).mT + self.sines.to(image)
        first = (self.cls_token + self.cls_embed.weight).expand(len(image), -1, -1)
        tokens = torch.cat([first, tokens], 1)
        for block in self.blocks:
            tokens = tokens + block.attn(block.norm1(tokens))
            tokens = tokens + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(tokens))))
        return (self.norm(tokens)[:, 1:].mT.unflatten(2, grid.shape[2:]),)


def sines(count, width):
    """The table of position embeddings, element by element."""
    rows = []
    for position in range(count):
        angles = [position / 10000 ** (2 * (i // 2) / width) for i in range(width)]
        rows.append([math.cos(angle) if i % 2 else math.sin(angle) for i, angle in enumerate(angles)])
    return torch.tensor(rows)


def mssdf_training(path, size=64):
    """MSSDF's training checkpoint: encoder, teacher and decoder in one dictionary."""
    encoder, teacher = (scramble(MssdfEncoder(size), seed) for seed in (0, 1))
    heads = {
        'encoder_to_decoder.weight': torch.zeros(1),
        'mask1_token': torch.zeros(1),
        'decoder.blocks.0.attn.q_bias': torch.zeros(1),
        'decoder.blocks.0.attn.qkv.weight': torch.zeros(1),
    }
    weights = under('encoder.', encoder.state_dict()) | under('ema_teacher.', teacher.state_dict()) | heads
    options = argparse.Namespace(input_size=size, output_dir=pathlib.PosixPath('/runs/2'))
    torch.save(dict(model=weights, optimizer=dict(state={}), epoch=499, scaler=dict(scale=1.0), args=options), path)
    return encoder, teacher


def write(path, content):
    """A file as torch writes it, of any content that can be pickled."""
    return archive(path, pickle.dumps(content, 2))
