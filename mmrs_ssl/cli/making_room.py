"""Remove the checkpoints of an earlier run, but not before the new one has started."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from mmrs_ssl.cli.places import walk
from mmrs_ssl.engine.checkpoint_files import asked_marker

_ASIDE = '.{}.overwritten'


@contextmanager
def settings_kept(checkpoints: Sequence[Path], settings: Sequence[Path]) -> Iterator[None]:
    """Give the files of settings their content back if the checkpoints that they belong to are there at the end.

    Those that were not there before are removed.

    Args:
        checkpoints: of an earlier run, which a new one removes when its first step is done.
        settings: of the earlier run, which the new one writes over before.
    """
    before = {path: _identity(path) for path in checkpoints}
    contents = {path: path.read_bytes() if path.exists() else None for path in settings}
    try:
        yield
    finally:
        if before and all(path.exists() and _identity(path) == same for path, same in before.items()):
            for path, content in contents.items():
                if content is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(content)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns  # a file that takes a removed one's place may be given its number


class MakesRoom(Hook):
    """Sets the checkpoints of an earlier run aside, and removes them when the first step of the new one is done.

    Until then it may end for want of data, of memory or of weights that fit, and they are all there is: they get their
    names back. A run that is killed before leaves them aside, so that ``--resume`` does not take them for its own; the
    next one that has started removes them.

    Args:
        paths: of the files.
        folders: in which such may have been left aside.
    """

    priority = 'HIGHEST'

    def __init__(self, paths: Sequence[Path] = (), folders: Sequence[Path] = ()) -> None:
        self.paths = list({path.absolute(): path for path in paths if path.exists()}.values())
        self.started = False
        self.aside: dict[Path, Path] = {}
        self.left = [path for folder in folders for path in sorted(folder.glob(_ASIDE.format('*')))]

    def check(self, cfg: Config) -> None:
        """Refuse to remove what the run starts from.

        Raises:
            ValueError: naming the file and the place in the config.
        """
        gone = {path.resolve() for path in self.paths}
        for place, node in walk(cfg._cfg_dict):
            for key, value in node.items():
                if gone and isinstance(value, str) and value.endswith('.pth') and Path(value).resolve() in gone:
                    raise ValueError(
                        f'--overwrite would remove {value}, which this run starts from '
                        f'({f"{place}.{key}".lstrip(".")}): give another folder with --work-dir, or move that file'
                    )

    def set_aside(self) -> None:
        """Give them names by which nobody finds them: from now on the new run's checkpoints are all there is."""
        for path in self.paths:
            self.aside[path] = path.rename(path.with_name(_ASIDE.format(path.name)))
        if self.paths:
            print(
                f'--overwrite: checkpoints of an earlier run in {self.paths[0].parent} are called '
                f'{_ASIDE.format("NAME")} until the first step is done, then they are removed',
                file=sys.stderr,
            )

    def restore(self) -> None:
        """Give those that were not removed their names back."""
        for path, aside in self.aside.items():
            aside.rename(path)
        self.aside = {}

    def remove(self) -> None:
        """Remove them."""
        for aside in dict.fromkeys([*self.aside.values(), *self.left]):
            aside.unlink(missing_ok=True)
        self.aside, self.left = {}, []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Remove them, and tell who asked for a marker that the run has started."""
        if not self.started and (marker := asked_marker()) is not None:
            marker.with_name(f'{marker.name}.started').touch()
        self.started = True
        self.remove()

    def after_train(self, runner: Any) -> None:
        """Remove them, also where no step was left to do."""
        self.remove()
