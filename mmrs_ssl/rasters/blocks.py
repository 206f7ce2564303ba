"""Go through a raster that may be larger than memory, window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rasterio.windows import Window


@dataclass(frozen=True)
class BlockWindows:
    """Windows of ``shape`` pixels that cover a raster row by row; its right and lower edge cut the last ones off."""

    size: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def of_blocks(cls, size: tuple[int, int], block: tuple[int, int], pixels: int) -> BlockWindows:
        """Choose windows of whole blocks, with about ``pixels`` pixels each.

        Where a single block has more than four times as many, windows are parts of it: slower, but bounded.
        """
        (height, width), rows, columns = size, min(block[0], size[0]), min(block[1], size[1])
        if columns < width:
            columns = min(width, max(1, math.isqrt(pixels) // columns) * columns)
        rows = min(height, max(1, pixels // columns // rows) * rows)
        return cls(size, (rows, columns) if rows * columns <= 4 * pixels else (max(1, pixels // columns), columns))

    @property
    def _across(self) -> int:
        return math.ceil(self.size[1] / self.shape[1])

    def __len__(self) -> int:
        return math.ceil(self.size[0] / self.shape[0]) * self._across

    def __getitem__(self, number: int) -> Window:
        row, column = divmod(number, self._across)
        top, left = row * self.shape[0], column * self.shape[1]
        return Window(left, top, min(self.shape[1], self.size[1] - left), min(self.shape[0], self.size[0] - top))
