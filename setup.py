"""Build hook: configs, tools and the model index ship inside the package, in ``mmrs_ssl/.mim``.

That is OpenMMLab's convention; ``mim`` and ``mmrs_ssl.get_config`` look there. Everything else is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = ('configs', 'tools', 'model-index.yml')


class BuildWithConfigs(build_py):
    """Copy what ships with the package into the build (a wheel); an editable install reads it in its place."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'mmrs_ssl' / '.mim'
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in SHIPPED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy(source, target / name)


setup(cmdclass={'build_py': BuildWithConfigs})
