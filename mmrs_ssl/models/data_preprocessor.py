"""Bring views of any number of bands to the device and normalize them there."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrs_ssl.options import FINITE, POSITIVE, check_lists, check_parts
from mmrs_ssl.registry import MODELS

_WHERE = (
    'they stand beside the data: add model = dict(data_preprocessor=_base_.statistics) to the config, or your own '
    'numbers, which tools/band_stats.py prints'
)


@MODELS.register_module()
class BandPreprocessor(BaseDataPreprocessor):
    """Normalize every band by its mean and standard deviation; nothing assumes three channels or 8 bits.

    Bands keep the order of the files (RGB for photographs): there is no channel swap. The result is channels-last in
    memory, which convolutions prefer on the CPU and under mixed precision.

    Args:
        mean, std: one value per band, in the units of the raster (0-255 for 8-bit images).
        non_blocking: copy to the device without waiting for it; saves time where the loader pins its memory, and does
            no harm where it does not.

    Raises:
        ValueError: if ``mean`` and ``std`` differ in length or a deviation is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, non_blocking: bool = True
    ) -> None:
        super().__init__(non_blocking)
        if mean is None or std is None:
            raise ValueError(f'BandPreprocessor got no mean and std; {_WHERE}')
        check_lists(self, FINITE, mean=mean)
        check_lists(self, POSITIVE, len(mean), std=std)
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    @property
    def bands(self) -> int:
        """Return how many bands there are statistics of."""
        return self.mean.shape[1]

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalize a collated batch.

        Args:
            data: ``inputs``, a list with a tensor (B, C, H, W) of any real type per view, or one such tensor; and
                ``data_samples``, which stay on the CPU (they are small; who needs their fields moves them at once),
                but for a ``mask``, which mmpretrain's SimMIM expects where the images are.
            training: unused, part of mmengine's interface.

        Returns:
            The same with float32 ``inputs`` on the device.
        """
        inputs, samples = data['inputs'], data.get('data_samples')
        several = isinstance(inputs, list | tuple)
        normalized = [self.normalize(view) for view in inputs] if several else self.normalize(inputs)
        if samples and 'mask' in samples[0]:
            masks = torch.stack([sample.mask for sample in samples]).to(self.device, non_blocking=self._non_blocking)
            for sample, mask in zip(samples, masks, strict=True):
                sample.mask = mask
        return dict(inputs=normalized, data_samples=samples)

    def normalize(self, view: Tensor) -> Tensor:
        """Turn (B, C, H, W) of any real type into float32, zero mean and unit variance per band, channels-last."""
        if view.ndim != 4 or view.shape[1] != self.bands:
            raise ValueError(
                f'a batch of shape {tuple(view.shape)} does not have the {self.bands} bands that the data '
                'preprocessor has statistics for; give mean and std for every band, or select bands when loading'
            )
        view = view.to(self.device, non_blocking=self._non_blocking)
        view = view.to(torch.float32, memory_format=torch.channels_last, copy=True)
        return view.sub_(self.mean).div_(self.std)


@MODELS.register_module()
class ModalityPreprocessor(BaseDataPreprocessor):
    """Normalize every modality by statistics of its own; refuse samples that say nothing.

    The two are steps of their own: :meth:`check` reads the values of a batch, where it lies; :meth:`normalize` reads
    none, so that a device is never waited for.

    Args:
        modalities: name -> ``dict(mean=[...], std=[...])``, a value per band in the units of the raster.
        non_blocking: copy to the device without waiting for it; saves time where the loader pins its memory, and does
            no harm where it does not.

    Raises:
        ValueError: without a modality, or for statistics that are none.
    """

    parts: Any  # nn.ModuleDict of BandPreprocessor

    def __init__(self, modalities: dict[str, dict] | None = None, non_blocking: bool = True) -> None:
        super().__init__(non_blocking)
        if not modalities:
            raise ValueError(f'modalities is empty, expected a name with mean and std for each; {_WHERE}')
        check_parts(self, 'dict(rgb=dict(mean=[...], std=[...]))', modalities=modalities)
        self.parts = nn.ModuleDict(
            {name: BandPreprocessor(**values, non_blocking=non_blocking) for name, values in modalities.items()}
        )

    @property
    def bands(self) -> dict[str, int]:
        """Return the number of bands of every modality."""
        return {name: part.bands for name, part in self.parts.items()}

    def statistics(self, name: str) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of each band of a modality."""
        return self.parts[name].mean, self.parts[name].std

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Check and normalize a collated batch.

        Args:
            data: ``inputs``, a dict name -> (B, C, H, W) of any real type, all of one height and width; and
                ``data_samples``, which stay on the CPU.
            training: unused, part of mmengine's interface.

        Returns:
            The same with float32 ``inputs`` on the device, in the order of the configured modalities, and
            ``data_samples`` (made here if there are none) whose ``eight_bits`` names the modalities that were uint8.

        Raises:
            ValueError: as :meth:`check` does.
        """
        inputs, samples = data['inputs'], data.get('data_samples')
        self.check(inputs, samples)
        samples = samples or [DataSample() for _ in next(iter(inputs.values()))]
        eight_bits = tuple(name for name in self.parts if inputs[name].dtype == torch.uint8)
        for sample in samples:
            sample.set_metainfo(dict(eight_bits=eight_bits))
        return dict(inputs=self.normalize(inputs), data_samples=samples)

    def normalize(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Turn modalities (B, C, H, W) of any type into float32 on the device, zero mean and unit variance per band."""
        return {name: part.to(self.device).normalize(inputs[name]) for name, part in self.parts.items()}

    def check(self, inputs: dict[str, Tensor], samples: Any) -> None:
        """Refuse a batch that lacks something, naming a sample.

        Args:
            inputs: as :meth:`forward` is given them; values are read, so they had better lie on the CPU.
            samples: the data samples, or None.

        Raises:
            ValueError: if a modality is missing or of another size; for a sample with values that are no numbers, or
                with the same value everywhere in a modality of one band (a surface model without heights).
        """
        missing = [name for name in self.parts if name not in inputs]
        if missing:
            raise ValueError(
                f'{named(samples)} has no {", ".join(missing)}, only {", ".join(inputs)}: give the pipeline '
                'LoadModalities with all modalities that the data preprocessor has statistics for'
            )
        sizes = {name: tuple(inputs[name].shape[2:]) for name in self.parts}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f'{named(samples)} has modalities of different sizes, {sizes}: put them on one grid, as '
                'mmrs_ssl.SceneDataset with LoadModalities does'
            )
        for name in self.parts:
            single = inputs[name].shape[1] == 1
            if not single and not inputs[name].is_floating_point():
                continue  # integers are numbers
            low, high = inputs[name].flatten(1).float().aminmax(dim=1)
            broken = ~(low.isfinite() & high.isfinite())
            refused = broken | (low == high) if single else broken
            if refused.any():
                index = int(refused.nonzero()[0])
                found = 'values that are no numbers' if broken[index] else 'the same value everywhere'
                raise ValueError(
                    f'{named(samples, index)} has {found} in {name!r}: declare its nodata value (LoadModalities with '
                    'nodata=...), or leave the sample out'
                )

    def byte_scale(self, name: str, normalized: Tensor, eight_bits: bool) -> Tensor:
        """Bring a normalized modality to the scale 0-255 on which patches are compared.

        Args:
            name: of the modality.
            normalized: (B, C, H, W).
            eight_bits: whether the raster was uint8, see :func:`eight_bit_modalities`; its values are then as they were
                (uint8), those of others are mapped from [mean - 2 std, mean + 2 std] and clipped.
        """
        if eight_bits:
            part = self.parts[name]
            return (normalized * part.std + part.mean).round().clamp(0, 255).to(torch.uint8)
        return ((normalized + 2) * (255 / 4)).clamp(0, 255)


def eight_bit_modalities(samples: Sequence[DataSample] | None) -> tuple[str, ...]:
    """Return the modalities of a batch that were uint8, which :class:`ModalityPreprocessor` wrote into its samples.

    Raises:
        ValueError: if they don't say, or not the same.
    """
    found = {sample.get('eight_bits') for sample in samples or ()}
    if len(found) != 1 or None in found:
        raise ValueError(
            f'data samples with eight_bits={sorted(map(str, found))}, expected one value, the names of the modalities '
            'that had 8 bits: give the model both inputs and data_samples as ModalityPreprocessor returns them'
        )
    return found.pop()


def named(samples: Any, index: int | None = None) -> str:
    """Name a sample for an error; of a batch the first."""
    found = samples[index or 0].metainfo.get('img_path') if samples else None
    return str(found) if found else f'sample {index} of the batch' if index is not None else 'the batch'


def with_bands(config: dict, key: str, bands: int) -> dict:
    """Give the config of a module its number of bands, which is the data preprocessor's.

    Raises:
        ValueError: if the config says otherwise.
    """
    if config.get(key, bands) != bands:
        raise ValueError(
            f'{config["type"]}.{key}={config[key]}, but the data preprocessor has mean and std for {bands} bands; '
            f'leave {key} out, or give statistics of {config[key]} bands'
        )
    return {**config, key: bands}


def with_input_bands(patch_embed: nn.Module, bands: int) -> nn.Module:
    """Make a new patch embedding like the given one, for another number of bands."""
    other: Any = copy.deepcopy(patch_embed)
    old = other.projection
    other.projection = nn.Conv2d(bands, old.out_channels, old.kernel_size, old.stride, bias=old.bias is not None)
    return other
