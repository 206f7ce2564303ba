"""Let ``torch.load(weights_only=True)`` read mmengine's checkpoints, and nothing more.

Since torch 2.6 ``weights_only=True`` is the default and refuses what mmengine stores beside the weights (its log
buffers and numpy numbers), so resuming and ``init_cfg=dict(type='Pretrained')`` fail. The types below are exactly those
that a Runner writes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from numpy._core import multiarray

_STATISTICS = ('min', 'max', 'current', 'mean')


def restricted_getattr(obj: object, name: str) -> Callable[..., Any]:
    """Take the place of ``builtins.getattr`` in a checkpoint, and resolve HistoryBuffer's own statistics alone.

    A HistoryBuffer pickles its statistics as ``getattr(HistoryBuffer, 'mean')``; the real ``getattr`` on the allow-list
    would let a crafted file reach any attribute of any allowed object and from there run code.

    Raises:
        ValueError: for any other object or name.
    """
    if obj is HistoryBuffer and name in _STATISTICS:
        return getattr(HistoryBuffer, name)
    raise ValueError(
        f'this checkpoint asks for getattr({obj!r}, {name!r}), which no mmengine checkpoint needs: it may be harmful '
        f'and is not loaded (allowed: HistoryBuffer.{"/".join(_STATISTICS)})'
    )


def allow_checkpoint_types() -> None:
    """Put the types of mmengine's checkpoints on torch's allow-list (idempotent)."""
    numpy_dtypes = [type(np.dtype(t)) for t in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (restricted_getattr, 'builtins.getattr'),
            multiarray._reconstruct,  # numpy arrays
            multiarray.scalar,  # numpy numbers
            (multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
            (multiarray.scalar, 'numpy.core.multiarray.scalar'),  # their names before numpy 2
            np.ndarray,
            np.dtype,
            *numpy_dtypes,
        ]
    )
