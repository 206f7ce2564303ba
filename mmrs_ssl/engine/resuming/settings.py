"""Compare the settings of a checkpoint with those of the config that goes on from it."""

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from mmrs_ssl.aliases import HOOK_NAMES, TRANSFORM_NAMES

# What decides how a training goes; where it runs, how often it logs and how it loads are nobody's business.
COMPARED = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'auto_scale_lr',
    'custom_hooks',
    'randomness',
    'processes',
    'iterations per epoch',
)
IGNORED = (
    'train_cfg.type',
    'train_cfg.by_epoch',
    'train_cfg.val_*',
    'train_dataloader.num_workers',
    'train_dataloader.persistent_workers',
    'train_dataloader.pin_memory',
    'train_dataloader.prefetch_factor',
    'train_dataloader.collate_fn*',
    'train_dataloader.dataset.cache_dir',
    'model.num_images',
    'custom_hooks.PictureHook*',
    'custom_hooks.CollapseMonitorHook*',
    'custom_hooks.GradientShareHook*',
)
# What a checkpoint holds is of no use with another one, and why.
REFUSED = {
    'model.type': 'its weights are of another method',
    'model.backbone.type': 'its weights are of another backbone',
    'optim_wrapper.optimizer.type': "its optimizer's averages mean something else to another optimizer",
    'bands': 'its weights are for other bands',
}
# What learning rates and the position depend on: they are computed anew.
PLANNED = (
    'optim_wrapper*',
    'param_scheduler*',
    'train_cfg.max_*',
    'train_dataloader.batch_size',
    'auto_scale_lr*',
    'processes',
    'iterations per epoch',
)
_MISSING = '(none)'


@dataclass(frozen=True)
class Difference:
    """One setting that is not what it was."""

    path: str
    before: Any
    now: Any

    @property
    def refused(self) -> str | None:
        """Why a training cannot go on with it; None if it can."""
        return REFUSED.get(self.path)

    @property
    def planned(self) -> bool:
        """Whether learning rates or the position depend on it."""
        return any(fnmatch(self.path, pattern) for pattern in PLANNED)


def compare_settings(before: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    """List the settings that differ, of those that decide how a training goes.

    Args:
        before, now: variables of the two configs, as plain data.
    """
    old, new = ({**_flat(settings), **_bands(settings)} for settings in (before, now))
    paths = [path for path in dict.fromkeys([*old, *new]) if old.get(path, _MISSING) != new.get(path, _MISSING)]
    return [
        Difference(path, old.get(path, _MISSING), new.get(path, _MISSING))
        for path in paths
        if not any(fnmatch(path, pattern) for pattern in IGNORED)
    ]


def table(differences: list[Difference]) -> str:
    """Write the differences in columns, and what becomes of each."""
    rows = [('setting', 'in the checkpoint', 'now', '')]
    for each in differences:
        outcome = 'refused' if each.refused else 'planned anew' if each.planned else 'taken from the config'
        rows.append((each.path, _short(each.before), _short(each.now), outcome))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return '\n'.join([lines[0], '-' * max(map(len, lines)), *lines[1:]])


def _short(value: Any, length: int = 44) -> str:
    text = str(value)
    return text if len(text) <= length else f'{text[: length - 3]}...'


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Give every compared setting a path of its own; parts of a list go by their type."""
    found: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(_current(value) if key == 'type' else value, f'{path}.{key}')
        elif isinstance(node, list | tuple) and any(isinstance(item, dict) for item in node):
            seen: Counter[str] = Counter()
            for i, item in enumerate(node):
                name = _current(item.get('type', i)) if isinstance(item, dict) else str(i)
                seen[name] += 1
                walk(item, f'{path}.{name}' + (f'({seen[name]})' if seen[name] > 1 else ''))
        else:
            found[path] = list(node) if isinstance(node, tuple) else node

    for name in COMPARED:
        if name in settings:
            walk(settings[name], name)
    return found


def _current(kind: Any) -> Any:
    """Return the name that a type has now, without its scope."""
    if not isinstance(kind, str):
        return str(kind)
    name = kind.rsplit('.', 1)[-1]
    return {**HOOK_NAMES, **TRANSFORM_NAMES}.get(name, name)


def _bands(settings: dict[str, Any]) -> dict[str, Any]:
    """Count the bands, of every modality."""
    preprocessor = (settings.get('model') or {}).get('data_preprocessor') or settings.get('data_preprocessor') or {}
    modalities = preprocessor.get('modalities')
    counts = {name: len(each.get('mean') or ()) for name, each in (modalities or {'': preprocessor}).items()}
    return {'bands': counts if modalities else counts['']} if any(counts.values()) else {}
