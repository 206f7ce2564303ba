"""Damage files as disks, networks and interrupted copies do."""

from pathlib import Path

import numpy as np

KINDS = ('cut', 'flipped', 'zeroed')


def damage(data: bytes, rng: np.random.Generator, kind: str) -> bytes:
    """Cut the end off, flip bits of a few bytes (half the time among the first 256), or write zeros over a block."""
    damaged = bytearray(data)
    if kind == 'cut':
        return data[: int(rng.integers(len(data)))]
    if kind == 'flipped':
        end = len(data) if rng.random() < 0.5 else min(256, len(data))
        for place in rng.integers(end, size=int(rng.integers(1, 12))):
            damaged[place] ^= int(rng.integers(1, 256))
    else:
        start = int(rng.integers(len(data)))
        stop = min(len(data), start + int(rng.integers(1, 4096)))
        damaged[start:stop] = bytes(stop - start)
    return bytes(damaged)


def write_damaged(folder: Path, whole: dict[str, bytes], count: int, seed: int = 0) -> list[Path]:
    """Write ``count`` damaged copies, each in a folder of its own; kinds of files and of damage take turns."""
    rng = np.random.default_rng(seed)
    names, paths = list(whole), []
    for number in range(count):
        name = names[number // len(KINDS) % len(names)]
        path = folder / f'{number:03d}' / name
        path.parent.mkdir(parents=True)
        path.write_bytes(damage(whole[name], rng, KINDS[number % len(KINDS)]))
        paths.append(path)
    return paths
