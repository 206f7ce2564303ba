"""Bring views of any number of bands to the device and normalise them there."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

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
