"""Bring views of any number of bands to the device and normalise them there."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from mmrs_ssl.registry import MODELS


@MODELS.register_module()
class BandPreprocessor(BaseDataPreprocessor):
    """Normalise every band by its mean and standard deviation; nothing assumes three channels or 8 bits.

    Bands keep the order of the files (RGB for photographs): there is no channel swap. The result is channels-last in
    memory, which convolutions prefer on the CPU and under mixed precision.

    Args:
        mean, std: one value per band, in the units of the raster (0-255 for 8-bit images).
        non_blocking: copy to the device without waiting.

    Raises:
        ValueError: if ``mean`` and ``std`` differ in length or a deviation is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], non_blocking: bool = False) -> None:
        super().__init__(non_blocking)
        if len(mean) != len(std) or not mean or min(std) <= 0:
            raise ValueError(f'mean and std need one value per band, std above 0; got mean={mean}, std={std}')
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.mean.shape[1]

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalise a collated batch.

        Args:
            data: ``inputs``, a list with a tensor (B, C, H, W) of any real type per view, or one such tensor; and
                ``data_samples``, which stay on the CPU (they are small; who needs their fields moves them at once).
            training: unused, part of mmengine's interface.

        Returns:
            The same with float32 ``inputs`` on the device.
        """
        inputs = data['inputs']
        several = isinstance(inputs, list | tuple)
        normalised = [self.normalise(view) for view in inputs] if several else self.normalise(inputs)
        return dict(inputs=normalised, data_samples=data.get('data_samples'))

    def normalise(self, view: Tensor) -> Tensor:
        """(B, C, H, W) of any real type -> float32, zero mean and unit variance per band, channels-last."""
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
    """Normalise every modality by statistics of its own; refuse samples that say nothing.

    Args:
        modalities: name -> ``dict(mean=[...], std=[...])``, a value per band in the units of the raster.
        non_blocking: copy to the device without waiting.

    Raises:
        ValueError: without a modality, or for statistics that are none.
    """

    parts: Any  # nn.ModuleDict of BandPreprocessor

    def __init__(self, modalities: dict[str, dict], non_blocking: bool = False) -> None:
        super().__init__(non_blocking)
        if not modalities:
            raise ValueError('modalities is empty, expected a name with mean and std for each')
        self.parts = nn.ModuleDict({name: BandPreprocessor(**values) for name, values in modalities.items()})
        self.eight_bits: dict[str, bool] = {}

    @property
    def bands(self) -> dict[str, int]:
        """Number of bands of every modality."""
        return {name: part.bands for name, part in self.parts.items()}

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalise a collated batch.

        Args:
            data: ``inputs``, a dict name -> (B, C, H, W) of any real type, all of one height and width; and
                ``data_samples``, which stay on the CPU.
            training: unused, part of mmengine's interface.

        Returns:
            The same with float32 ``inputs`` on the device, in the order of the configured modalities.

        Raises:
            ValueError: if a modality is missing or of another size; for a sample with values that are no numbers, or
                with the same value everywhere in a modality of one band (a surface model without heights).
        """
        inputs, samples = data['inputs'], data.get('data_samples')
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
        self.eight_bits = {name: inputs[name].dtype == torch.uint8 for name in self.parts}
        normalised = {name: part.to(self.device).normalise(inputs[name]) for name, part in self.parts.items()}
        self.refuse_empty(normalised, samples)
        return dict(inputs=normalised, data_samples=samples)

    def refuse_empty(self, normalised: dict[str, Tensor], samples: Any) -> None:
        """Raise for values that are no numbers and surface models of constants, naming the sample."""
        for name, image in normalised.items():
            low, high = image.flatten(1).aminmax(dim=1)
            broken = ~(low.isfinite() & high.isfinite())
            flat = (low == high) if image.shape[1] == 1 else torch.zeros_like(broken)
            if bool((broken | flat).any()):
                index = int((broken | flat).nonzero()[0])
                found = 'values that are no numbers' if broken[index] else 'the same value everywhere'
                raise ValueError(
                    f'{named(samples, index)} has {found} in {name!r}: declare its nodata value (LoadModalities with '
                    'nodata=...), or leave the sample out'
                )

    def byte_scale(self, name: str, normalised: Tensor) -> Tensor:
        """A normalised modality on the scale 0-255, as patches are compared on.

        8-bit bands as they were (uint8); others from [mean - 2 std, mean + 2 std], clipped.
        """
        if self.eight_bits.get(name):
            part = self.parts[name]
            return (normalised * part.std + part.mean).round().clamp(0, 255).to(torch.uint8)
        return ((normalised + 2) * (255 / 4)).clamp(0, 255)


def named(samples: Any, index: int | None = None) -> str:
    """How an error names a sample, or the first of a batch."""
    found = samples[index or 0].metainfo.get('img_path') if samples else None
    return str(found) if found else f'sample {index} of the batch' if index is not None else 'the batch'


def with_bands(config: dict, key: str, bands: int) -> dict:
    """The config of a module with its number of bands, which is the data preprocessor's.

    Raises:
        ValueError: if the config says otherwise.
    """
    if config.get(key, bands) != bands:
        raise ValueError(
            f'{config["type"]}.{key}={config[key]}, but the data preprocessor has mean and std for {bands} bands; '
            f'leave {key} out, or give statistics of {config[key]} bands'
        )
    return {**config, key: bands}
