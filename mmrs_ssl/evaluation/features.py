"""Compute a vector of each of many images, by one process or several."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Load = Callable[[str], np.ndarray]  # a path to an image (H, W, C)


class SquareImages(Dataset):
    """Images by path, of one size.

    Args:
        paths: of the images.
        load: reads one, (H, W, C) of any number of bands and type.
        size: side in pixels that each is resized to, whatever its own shape.
    """

    def __init__(self, paths: Sequence[str], load: Load, size: int) -> None:
        self.paths, self.load, self.size = paths, load, size

    def __len__(self) -> int:
        """Count the images."""
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:
        """Return an image (C, size, size), float32, in its own units.

        Raises:
            ValueError: for pixels that are no numbers.
        """
        image = self.load(self.paths[number]).astype(np.float32)
        if not np.isfinite(image).all():
            raise ValueError(f'{self.paths[number]} holds NaN or inf: say what is no data, or leave the image out')
        smaller = image.shape[0] * image.shape[1] > self.size**2
        way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        if image.shape[:2] != (self.size, self.size):
            # OpenCV resizes at most four bands of an image at once by this way
            bands = [cv2.resize(band, (self.size, self.size), interpolation=way) for band in image.transpose(2, 0, 1)]
            return torch.from_numpy(np.stack(bands))
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def pixel_batches(images: SquareImages, batch_size: int = 64, workers: int = 0, shared: bool = True) -> DataLoader:
    """Load images in their order, in batches (B, C, size, size); of several processes each its part, if shared."""
    part = range(get_rank(), len(images), get_world_size()) if shared else range(len(images))
    return DataLoader(torch.utils.data.Subset(images, part), batch_size, num_workers=workers)


@torch.inference_mode()
def features_of(
    encoder: Callable[[Tensor], Tensor],
    images: SquareImages,
    batch_size: int = 64,
    workers: int = 0,
    device: str = 'cpu',
    bf16: bool = False,
) -> np.ndarray:
    """Compute the vector of each image; every process must call this, and gets those of all.

    Args:
        encoder: pixels (B, C, size, size) to vectors (B, D).
        images: N of them.
        batch_size: images at once.
        workers: processes that read images.
        device: that the encoder is on.
        bf16: compute in bfloat16 where that is safe (autocast).

    Returns:
        (N, D) float32, in the images' order.
    """
    parts = []
    with torch.autocast(device.split(':')[0], torch.bfloat16, enabled=bf16):
        for pixels in pixel_batches(images, batch_size, workers):
            parts.append(encoder(pixels.to(device)).float().cpu().numpy())
    own = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    if get_world_size() == 1:
        return own
    gathered = all_gather_object(own)
    width = max(part.shape[1] for part in gathered)
    whole = np.empty((len(images), width), np.float32)
    for rank, part in enumerate(gathered):
        whole[rank :: get_world_size()] = part.reshape(-1, width)
    return whole
