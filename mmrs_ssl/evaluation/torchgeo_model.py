"""A pre-trained backbone as torchgeo-bench takes its models; README.md beside an exported copy says how to run it.

This file is copied into exports and needs torch and torchvision alone. What it is given stands in the configuration
beside it. torchgeo-bench makes the model anew for every data set, with that one's bands.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import convnext, resnet, swin_transformer, vision_transformer

FULL = dict(uint8=255.0, s2_dn=10000.0, reflectance_0_1=1.0)  # a reflectance of 1, in the units of torchgeo-bench
CODES = dict(  # other names of bands; codes are Sentinel-2's
    b1='coastalaerosol', coastal='coastalaerosol', b2='blue', b3='green', b4='red', b5='rededge1', b6='rededge2',
    b7='rededge3', b8='nir', b8a='rededge4', nirnarrow='rededge4', b9='watervapour', watervapor='watervapour',
    b10='swircirrus', cirrus='swircirrus', b11='swir1', b12='swir2',
)  # fmt: skip


class BenchBackbone(nn.Module):
    """A frozen backbone that gives a vector of each image.

    Args:
        bands: what torchgeo-bench says of each band of the data set: name, mean, std, max and sensor.
        network: ``family``, ``weights`` (a file beside this one), ``pool`` (of a ViT ``'class_token'`` or ``'mean'``,
            of a ConvNeXt ``'mean'`` or ``'mean_before_norm'``) and the sizes that :func:`build_network` takes.
        pixels: of the pre-training: ``bands`` (names in the network's order; None: by position), ``mean`` and ``std``
            of each, and the ``unit`` of these, one of torchgeo-bench's.
        normalization: torchgeo-bench's ``dataset.normalization``. ``'bandspec_zscore'`` takes mean and std of the data
            set, as its own models do; ``'model_native'`` brings pixels to the unit of the pre-training and takes the
            mean and std of that; ``'identity'`` takes these as the pixels are.
        name, image_size, eval: torchgeo-bench's own.

    Raises:
        ValueError: if the data set lacks a band, or the normalization or unit is not known.
    """

    def __init__(
        self,
        bands: Sequence[Any],
        network: Mapping[str, Any],
        pixels: Mapping[str, Any],
        normalization: str = 'model_native',
        name: str = '',
        image_size: int | None = None,
        eval: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_channels = len(bands)
        self.places = places_of([band.name for band in bands], pixels['bands'], len(pixels['mean']))
        used = [bands[place] for place in self.places]
        mean, std, self.factor = pixels['mean'], pixels['std'], 1.0
        if normalization == 'bandspec_zscore':
            mean, std = [band.mean for band in used], [max(band.std, 1e-8) for band in used]
        elif normalization == 'model_native':
            self.factor = factor_to(pixels['unit'], used)
        elif normalization != 'identity':
            raise ValueError(
                f'dataset.normalization={normalization}, expected bandspec_zscore, model_native or identity'
            )
        self.mean: Tensor
        self.std: Tensor
        for key, values in (('mean', mean), ('std', std)):
            value = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(key, value, persistent=False)
        sizes = dict(network)
        weights, self.pool = sizes.pop('weights'), sizes.pop('pool')
        self.family, self.patch = sizes['family'], sizes.get('patch', 1)
        self.backbone = build_network(bands=len(self.places), **sizes)
        state = torch.load(Path(__file__).with_name(weights), map_location='cpu', weights_only=True)
        self.backbone.load_state_dict(state)

    def normalize_inputs(self, images: Tensor) -> Tensor:
        """Choose the network's bands of images (B, C, H, W) in the data set's units, and normalize them."""
        return (images[:, self.places] * self.factor - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Compute a vector (B, D) of each image (B, C, H, W) in the data set's units."""
        if images.shape[-1] % self.patch or images.shape[-2] % self.patch:
            raise ValueError(
                f'images of {tuple(images.shape[2:])} pixels, expected multiples of {self.patch}: dataset.image_size'
            )
        return self.vectors(self.normalize_inputs(images))

    forward_patch_features = forward

    def vectors(self, images: Tensor) -> Tensor:
        """Compute vectors (B, D) of normalized images."""
        network: Any = self.backbone
        if self.family == 'vit':
            tokens = vit_tokens(network, images)
            return tokens[:, 0] if self.pool == 'class_token' else tokens[:, 1:].mean(dim=1)
        if self.family == 'convnext':
            maps = network.features(images)
            if self.pool == 'mean_before_norm':
                pooled: Tensor = network.classifier(maps.mean(dim=(2, 3), keepdim=True)).flatten(1)
            else:
                pooled = network.classifier(maps).mean(dim=(2, 3))
            return pooled
        found: Tensor = network(images)
        return found


def build_network(
    family: str,
    bands: int,
    width: int,
    depths: Sequence[int],
    heads: Sequence[int] = (),
    patch: int = 4,
    window: int = 7,
    hidden: int = 0,
    places: int = 0,
    bottleneck: bool = False,
) -> nn.Module:
    """Build torchvision's network of a family, without its head, for images of so many bands.

    Args:
        family: ``'resnet'``, ``'swin'``, ``'vit'`` or ``'convnext'``.
        bands: of the images.
        width: channels of the first stage; of a ResNet with bottlenecks those inside the first of these.
        depths: blocks of each stage.
        heads: of each stage's attention.
        patch: side of a patch in pixels.
        window: side of a window in places.
        hidden: width of the hidden layer after attention.
        places: side of a ViT's image in patches.
        bottleneck: whether a ResNet has bottlenecks.
    """
    network: Any
    if family == 'resnet':
        block = resnet.Bottleneck if bottleneck else resnet.BasicBlock
        network = resnet.ResNet(block, list(depths), width_per_group=width)
        network.conv1 = nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
        network.fc = nn.Identity()
    elif family == 'swin':
        network = swin_transformer.SwinTransformer(
            [patch, patch], width, list(depths), list(heads), [window, window], mlp_ratio=hidden / width
        )
        network.features[0][0] = nn.Conv2d(bands, width, patch, stride=patch)
        network.head = nn.Identity()
    elif family == 'vit':
        network = vision_transformer.VisionTransformer(patch * places, patch, depths[0], heads[0], width, hidden)
        network.conv_proj = nn.Conv2d(bands, width, patch, stride=patch)
        network.heads = nn.Identity()
    elif family == 'convnext':
        widths = [width * 2**stage for stage in range(len(depths))]
        ends = zip(widths, [*widths[1:], None], depths, strict=True)
        network = convnext.ConvNeXt([convnext.CNBlockConfig(*each) for each in ends])
        network.features[0][0] = nn.Conv2d(bands, width, 4, stride=4)
        network.classifier = network.classifier[:1]
    else:
        raise ValueError(f'family={family!r}, expected resnet, swin, vit or convnext')
    built: nn.Module = network
    return built


def vit_tokens(network: Any, images: Tensor) -> Tensor:
    """Compute all tokens (B, 1 + L, D) of images of any size; positions are resized as mmpretrain resizes them."""
    cells = network.conv_proj(images)
    ahead, places = network.encoder.pos_embedding[:, :1], network.encoder.pos_embedding[:, 1:]
    side = round(places.shape[1] ** 0.5)
    places = places.mT.unflatten(2, (side, side))
    if places.shape[2:] != cells.shape[2:]:
        places = F.interpolate(places, size=cells.shape[2:], mode='bicubic', align_corners=False)
    tokens = (cells + places).flatten(2).mT
    tokens = torch.cat(((network.class_token + ahead).expand(len(images), -1, -1), tokens), dim=1)
    found: Tensor = network.encoder.ln(network.encoder.layers(tokens))
    return found


def canonical(name: str) -> str:
    """Write the name of a band as it is compared."""
    plain = re.sub(r'(?<=[a-z])0+(?=\d)', '', re.sub(r'[^a-z0-9]', '', name.lower()))
    return CODES.get(plain, plain)


def places_of(given: Sequence[str], wanted: Sequence[str] | None, count: int) -> list[int]:
    """Find where a data set that gives some bands has each of the network's, by name, else all by position."""
    if wanted is None:
        if len(given) != count:
            raise ValueError(
                f'the data set gives {len(given)} bands ({", ".join(given)}), the network takes {count}: choose as '
                'many, dataset.bands=[...]'
            )
        return list(range(count))
    places = {canonical(name): place for place, name in enumerate(given)}
    lacking = [name for name in wanted if canonical(name) not in places]
    if lacking or len(wanted) != count:
        raise ValueError(
            f'the network takes {count} bands, here {", ".join(wanted)}, and the data set gives {", ".join(given)}: '
            f'choose all of them, dataset.bands=[...], or say their names there, model.pixels.bands=[...]'
        )
    return [places[canonical(name)] for name in wanted]


def factor_to(unit: str | None, bands: Sequence[Any]) -> float:
    """Find what brings pixels to a unit; their own is told from the largest values, as torchgeo-bench tells it."""
    if unit not in FULL:
        raise ValueError(
            f'the unit of the pixels of the pre-training is {unit!r}, expected one of {", ".join(FULL)}: say it, '
            'model.pixels.unit=..., or take dataset.normalization=bandspec_zscore'
        )
    largest: dict[str, float] = {}
    for band in bands:
        largest[band.sensor] = max(band.max, largest.get(band.sensor, band.max))
    units = {unit_of(each) for each in largest.values()}
    if len(units) > 1:
        raise ValueError(f'bands of several units, by their largest values {largest}: choose those of one sensor')
    return FULL[unit] / FULL[units.pop()]


def unit_of(largest: float) -> str:
    """Tell the unit of pixels from their largest value, by torchgeo-bench's rule."""
    return 's2_dn' if largest > 1000 else 'uint8' if largest > 10 else 'reflectance_0_1'
