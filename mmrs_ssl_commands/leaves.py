"""Use small modules of the package without the package, whose import takes seconds."""

import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


@cache
def leaf(name: str) -> ModuleType:
    """Load ``mmrs_ssl/NAME.py`` by its file: a module that imports nothing heavy, and nothing of the package."""
    if f'mmrs_ssl.{name}' in sys.modules:
        return sys.modules[f'mmrs_ssl.{name}']
    package = find_spec('mmrs_ssl')
    if package is None or package.origin is None:
        raise ModuleNotFoundError('mmrs_ssl is not installed; run "pip install ." in its folder')
    spec = spec_from_file_location(f'_mmrs_ssl_{name}', Path(package.origin).with_name(f'{name}.py'))
    assert spec is not None
    assert spec.loader is not None  # as the file's name ends with .py
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
