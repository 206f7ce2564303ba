"""Reach the configs that ship with the package, from a clone or from an installed wheel."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # mmengine imports torch, and names are listed without
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


def config_names(folder: str = '') -> list[str]:
    """List the names of the shipped configs, their paths under ``configs/`` without ``.py``.

    Raises:
        FileNotFoundError: if a folder is given, and there is no config in it.
    """
    root = config_root()
    paths = [path.relative_to(root) for path in root.glob('[!_]*/**/*.py')]
    names = sorted(path.with_suffix('').as_posix() for path in paths if '_base_' not in path.parts)
    if found := [name for name in names if name.startswith(f'{folder.strip("/")}/' if folder else '')]:
        return found
    folders = sorted({name.rsplit('/', 1)[0] for name in names})
    raise FileNotFoundError(f'no configs in {folder!r}; expected one of {", ".join(folders)}')


def find_config(name: str) -> Path:
    """Find the file of a shipped config by its name, or by the file name alone where that is unique.

    Raises:
        FileNotFoundError: if there is no such config; the message lists the nearest names.
    """
    names = config_names()
    wanted = name.removesuffix('.py')
    found = [n for n in names if n == wanted] or [n for n in names if n.rsplit('/', 1)[-1] == wanted]
    if len(found) != 1:
        near = get_close_matches(wanted, names + [n.rsplit('/', 1)[-1] for n in names], n=3, cutoff=0.4)
        raise FileNotFoundError(
            f'no config named {name!r} in {config_root()} ({len(found)} match); near names: '
            f'{", ".join(near) or "none"}; all {len(names)} are listed by mmrs-ssl configs list'
        )
    return config_root() / f'{found[0]}.py'


def get_config(name: str) -> Config:
    """Read one of the shipped configs.

    Args:
        name: its path under ``configs/``, with or without ``.py``, or the file name alone where that is unique, e.g.
            ``'cmid/cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px'``.

    Raises:
        FileNotFoundError: if there is no such config; the message lists the nearest names.
    """
    from mmengine.config import Config

    return Config.fromfile(find_config(name))


def copy_config(name: str, to: str | Path) -> list[Path]:
    """Copy a shipped config, and the shipped files it is based on, to where they lie among each other in the package.

    Returns:
        What was copied, the config first.

    Raises:
        FileNotFoundError: if there is no such config.
        FileExistsError: if another file is in the place of one of them; then none is written.
    """
    root, config = config_root(), find_config(name)
    files = list(dict.fromkeys([config, *_bases_of(config)]))
    copies = {Path(to) / file.relative_to(root): file.read_bytes() for file in files}
    for path, content in copies.items():
        if path.exists() and not (path.is_file() and path.read_bytes() == content):
            raise FileExistsError(f'{path} is there already, and is another file; give another folder than {to}')
    for path, content in copies.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(copies)


def _bases_of(config: Path) -> Iterator[Path]:
    """Yield the files below a config that lie beside it, and what those are based on in turn."""
    for node in ast.parse(config.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            bases = ast.literal_eval(node.value)
            for base in [bases] if isinstance(bases, str) else bases:
                if '::' not in base:  # else a library's own
                    path = (config.parent / base).resolve()
                    yield path
                    yield from _bases_of(path)
