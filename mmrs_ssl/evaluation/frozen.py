"""Take the backbone out of a checkpoint as it was pre-trained, to compute features of pixels."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope
from mmpretrain.models import VisionTransformer
from torch import Tensor, nn

from mmrs_ssl.models.backbones.pooling import vector_of
from mmrs_ssl.models.following import build_backbone
from mmrs_ssl.models.quiet import quiet
from mmrs_ssl.options import COUNT, FINITE, POSITIVE, check_lists, check_numbers
from mmrs_ssl.transfer.loading import load_backbone
from mmrs_ssl.transfer.records import read_record
from mmrs_ssl.transfer.sources import read_file

VECTORS = ('class', 'mean')


class FrozenBackbone(nn.Module):
    """A backbone in evaluation mode that takes pixels in the rasters' units, and normalizes them as in pre-training.

    Args:
        settings: config of the backbone, of mmpretrain's class or another that gives a tuple of outputs.
        mean, std: per band.
        size: side of the images in pixels.
        vector: ``'class'`` for the class token, ``'mean'`` for the mean over the places of the last map; by default the
            class token if the backbone was pre-trained to give that (``out_type='cls_token'``).
        reverses: the network saw three bands in the reverse of the order in which pixels come.

    Raises:
        ValueError: for a class token of a network without one, or statistics that are no numbers of as many bands.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        mean: list[float],
        std: list[float],
        size: int,
        vector: str | None = None,
        reverses: bool = False,
    ) -> None:
        super().__init__()
        check_numbers(self, COUNT, size=size)
        check_lists(self, FINITE, mean=mean)
        check_lists(self, POSITIVE, len(mean), std=std)
        self.settings, self.size, self.reverses, self.bands = dict(settings), size, reverses, len(mean)
        default = 'cls_token' if is_vit(settings) else ''  # mmpretrain's
        self.vector = vector or ('class' if settings.get('out_type', default) == 'cls_token' else 'mean')
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            self.backbone, _ = build_backbone(self._built(), self.bands)
        self.averaged = settings.get('out_type') == 'avg_featmap' and self.vector == 'mean'
        if self.averaged:
            self.backbone.out_type = 'raw'  # type: ignore[assignment]
        if self.vector == 'class' and getattr(self.backbone, 'cls_token', None) is None:
            raise ValueError(f'vector=class, but {type(self.backbone).__name__} has no class token; take the mean')
        self.mean: Tensor
        self.std: Tensor
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.eval()

    def _built(self) -> dict[str, Any]:
        """Return the config to build: of a ViT all tokens are wanted, and images as large as the features' own."""
        settings = {key: value for key, value in self.settings.items() if key != 'init_cfg'}
        if 'out_type' in settings or is_vit(settings):
            if settings.get('out_type') != 'avg_featmap' or self.vector == 'class':  # the mean has a layer of its own
                settings['out_type'] = 'raw'
            settings['img_size'] = self.size
        return settings

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute a vector (B, D), float32, of each image (B, C, size, size) in the rasters' units."""
        extra = getattr(self.backbone, 'num_extra_tokens', 0)  # a ViT gives all tokens here
        last = self.backbone(self.normalized(pixels))[-1]
        vector = vector_of(last, extra, cls_token=self.vector == 'class')
        return (self.backbone.ln2(vector) if self.averaged else vector).float()  # type: ignore[operator]

    def normalized(self, pixels: Tensor) -> Tensor:
        """Bring images (B, C, H, W) from the rasters' units to what the network was pre-trained on."""
        return ((pixels.flip(1) if self.reverses else pixels).float() - self.mean) / self.std

    def with_random_weights(self, seed: int = 0) -> 'FrozenBackbone':
        """Return the same network as it was initialized before any training."""
        with DefaultScope.overwrite_default_scope('mmpretrain'), torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(seed)
            statistics = (self.mean.flatten().tolist(), self.std.flatten().tolist())
            twin = FrozenBackbone(self.settings, *statistics, self.size, self.vector, self.reverses)
            twin.backbone.init_weights()  # type: ignore[operator]  # of mmengine's modules
        return twin.eval()


def open_backbone(
    checkpoint: str | Path,
    settings: Mapping[str, Any] | None = None,
    branch: str | None = None,
    modality: str | None = None,
    size: int | None = None,
    statistics: tuple[list[float], list[float]] | None = None,
    vector: str | None = None,
) -> FrozenBackbone:
    """Open the backbone of a checkpoint of any program that :func:`load_backbone` reads.

    Args:
        checkpoint: the file.
        settings: config of the backbone; by default what the file says.
        branch, modality: which of several, see :func:`load_backbone`.
        size: side of the images in pixels; by default that of the pre-training, which the file says.
        statistics: mean and std of each band; by default those of the pre-training, which the file says.
        vector: see :class:`FrozenBackbone`.

    Raises:
        ValueError: for what neither the arguments nor the file say, and where the weights do not fit.
    """
    record = read_record(read_file(Path(checkpoint)), modality)
    settings = settings or record.backbone
    if settings is None:
        raise ValueError(f'{checkpoint} does not say which network it is of: give a config that does (--config)')
    if vector is None and record.method == 'MAE':
        vector = 'mean'  # its class token is never trained for anything
    mean, std = statistics or (record.mean, record.std)
    if mean is None or std is None:
        raise ValueError(f'{checkpoint} does not say how pixels were normalized: give mean and std (--mean, --std)')
    size = (record.size or settings.get('img_size')) if size is None else size
    if not isinstance(size, int):
        raise ValueError(f'{checkpoint} does not say the size of its images: give one (--size)')
    frozen = FrozenBackbone(settings, mean, std, size, vector, reverses=record.reverses and len(mean) == 3)
    load_backbone(frozen.backbone, checkpoint, branch, modality)
    return frozen.eval()


def is_vit(settings: Mapping[str, Any]) -> bool:
    """Tell whether a backbone's config is of mmpretrain's VisionTransformer."""
    return str(settings['type']).rsplit('.', 1)[-1] == VisionTransformer.__name__


@torch.no_grad()
def recalibrate(frozen: FrozenBackbone, batches: Iterable[Tensor]) -> bool:
    """Give every BatchNorm the statistics of these pixels (B, C, size, size); tells whether there is one.

    Of random weights the statistics that a BatchNorm starts with fit nothing: recalibrated ones are the fairer floor.
    Every image counts alike, whatever its batch.
    """
    norms = [module for module in frozen.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return False
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    for batch in without_single_images(batches):
        seen += len(batch)
        for norm in norms:
            norm.momentum = len(batch) / seen
        frozen(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return True


def without_single_images(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Put a last batch of one image (1, C, H, W) to the one before it: a variance needs two values."""
    before: Tensor | None = None
    for batch in batches:
        if before is not None and len(batch) == 1:
            batch = torch.cat([before, batch])
        elif before is not None:
            yield before
        before = batch
    if before is not None:
        yield before
