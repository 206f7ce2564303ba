"""Reach the configs that ship with the package, from a clone or from an installed wheel."""

from difflib import get_close_matches
from pathlib import Path

from mmengine.config import Config

_PACKAGE = Path(__file__).resolve().parent


def config_root() -> Path:
    """Find the folder of the configs: ``.mim/configs`` of an installed wheel, ``configs`` of a clone.

    Raises:
        FileNotFoundError: if neither exists (the package was copied without its data).
    """
    candidates = [_PACKAGE / '.mim' / 'configs', _PACKAGE.parent / 'configs']
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f'no configs in {" or ".join(map(str, candidates))}; reinstall it with "pip install ." in a clone'
    )


def get_config(name: str) -> Config:
    """Read one of the shipped configs.

    Args:
        name: its path under ``configs/``, with or without ``.py``, or the file name alone where that is unique, e.g.
            ``'cmid/cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px'``.

    Raises:
        FileNotFoundError: if there is no such config; the message lists the nearest names.
    """
    root = config_root()
    paths = [p.relative_to(root) for p in root.glob('[!_]*/**/*.py')]
    names = sorted(p.with_suffix('').as_posix() for p in paths if '_base_' not in p.parts)
    wanted = name.removesuffix('.py')
    found = [n for n in names if n == wanted] or [n for n in names if n.rsplit('/', 1)[-1] == wanted]
    if len(found) != 1:
        near = get_close_matches(wanted, names + [n.rsplit('/', 1)[-1] for n in names], n=3, cutoff=0.4)
        raise FileNotFoundError(
            f'no config named {name!r} in {root} ({len(found)} match); near names: {", ".join(near) or "none"}; '
            f'all {len(names)} are listed in configs/*/README.md'
        )
    return Config.fromfile(root / f'{found[0]}.py')
