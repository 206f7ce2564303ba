"""Write the config of a pre-training that was worked out: the shipped one, and a small file on top that says why."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmrs_ssl.cli.config import override, read_config_file
from mmrs_ssl.cli.pretrain_pixels import set_statistics
from mmrs_ssl.cli.recipe import PROTOTYPES, QUEUES, Chosen, Facts, Recipe
from mmrs_ssl.shipped_configs import copy_config, get_config

_ROOM = 0.01  # share of bad files beside those that are known
_WIDTH = 110


def make_config(recipe: Recipe, seed: int, settings: Mapping[str, Any]) -> tuple[Config, tuple[Chosen, ...]]:
    """Make the config of a recipe, with statistics measured on a sample; the user's own settings rule.

    Returns:
        The config, and all choices: those of the recipe, the statistics, and the user's own.
    """
    cfg = get_config(recipe.config)
    init_default_scope(cfg.get('default_scope') or 'mmpretrain')
    facts = recipe.facts
    if len(facts.modalities) > 1:
        set_modalities(cfg, facts)
    elif facts.kind == 'geotiff':
        set_bands(cfg, facts)
    override(cfg, recipe_options(cfg, recipe))
    if rest := {name: value for name, value in settings.items() if name != 'statistics'}:
        override(cfg, rest)
    heights = frozenset(name for name, bands in facts.modalities.items() if bands.heights)
    told = set_statistics(cfg, heights)
    override(cfg, dict(settings))  # also in place of what was measured
    steps = max(1, recipe.epoch // cfg.train_dataloader.batch_size)
    cfg.default_hooks.logger.interval = min(cfg.default_hooks.logger.interval, steps)
    cfg.randomness = dict(seed=seed)
    rate = cfg.optim_wrapper.optimizer.lr
    base = cfg.auto_scale_lr.base_batch_size
    batch = cfg.train_dataloader.batch_size
    own = [Chosen(name, value, 'as asked for') for name, value in settings.items()]
    kept = [each for each in recipe.choices if each.setting not in settings]
    measured = [Chosen(name, *value_and_why) for name, value_and_why in told.items()]
    scaled = Chosen('learning rate', f'{rate * batch / base:.3g}', f'{rate:g} for {base} images, scaled to {batch}')
    return cfg, (*kept, *own, scaled, *measured, Chosen('seed', seed, 'of all that is random'))


def recipe_options(cfg: Config, recipe: Recipe) -> dict[str, Any]:
    """Turn the choices into options as of ``--cfg-options``."""
    facts, short = recipe.facts, cfg.short_names
    options: dict[str, Any] = dict(data_root=facts.data_root)
    for name in ('size', 'window', 'crops', 'batch', 'epochs'):
        if (value := recipe[name]) is not None and name in short:
            options[name] = value
    if recipe['windows_per_epoch']:
        options['train_dataloader.dataset.windows_per_epoch'] = recipe['windows_per_epoch']
    if recipe['queue']:
        options[QUEUES[recipe['method']]] = recipe['queue']
    if recipe['prototypes']:
        options[PROTOTYPES[recipe['method']]] = recipe['prototypes']
    if recipe['mask_block']:
        options['model.mask_block'] = recipe['mask_block']
    if facts.convert:
        options['convert'] = 'rgb'
    if facts.left_out:
        limit = 'max_unreadable' if facts.kind == 'folder' else 'max_bad'
        options[f'train_dataloader.dataset.{limit}'] = min(1.0, round(facts.left_out + _ROOM, 3))
    return options


def set_bands(cfg: Config, facts: Facts) -> None:
    """Say in a config of scenes which files are which, how many bands there are, and whether they are colors."""
    dataset, bands = cfg.train_dataloader.dataset, facts.modalities['']
    dataset.files = facts.rules['']
    if facts.band_files:
        dataset.band_files = list(facts.band_files)
    if 'bands' in cfg.short_names and not facts.band_files:
        override(cfg, dict(bands=bands.number))
    if bands.color:
        for transform in dataset.pipeline:
            if 'colors' in transform:
                transform.colors = True


def set_modalities(cfg: Config, facts: Facts) -> None:
    """Say in a config of several modalities what these are; statistics are still to come."""
    dataset, names = cfg.train_dataloader.dataset, list(facts.modalities)
    dataset.files = dict(facts.rules)
    for transform in dataset.pipeline:
        kind = transform['type'].rsplit('.', 1)[-1]
        if kind == 'LoadModalities':
            transform.modalities = {
                name: dict(bands=bands.number, **(dict(height='above_minimum') if bands.heights else {}))
                for name, bands in facts.modalities.items()
            }
    colors = [name for name, bands in facts.modalities.items() if bands.color]
    jitters = [each for each in dataset.pipeline if each['type'].endswith('ColorJitter')]
    for jitter in jitters:
        jitter.modality = colors[0] if colors else ''
    dataset.pipeline = [each for each in dataset.pipeline if each not in jitters or colors]
    empty = {
        name: dict(mean=[0.0] * bands.number, std=[1.0] * bands.number) for name, bands in facts.modalities.items()
    }
    cfg.statistics.modalities = copy.deepcopy(empty)
    cfg.model.data_preprocessor.modalities = copy.deepcopy(empty)
    heights = [name for name in names if facts.modalities[name].heights]
    cfg.model.masking.masked_modality = heights[0] if heights else None


def write_configs(
    cfg: Config, recipe: Recipe, choices: Sequence[Chosen], machine: Sequence[Chosen], folder: Path
) -> Path:
    """Write the shipped config, ``recipe.py`` on top of it, and ``config.py`` with what the machine adds.

    Returns:
        The path of ``config.py``, from which the same config is read.
    """
    shipped = copy_config(recipe.config, folder / 'configs')[0]
    base = f'configs/{recipe.config}.py'
    changes = difference(Config.fromfile(shipped).to_dict(), cfg.to_dict())
    lines = ['# What the images alone decide; each setting with its reason.', *_remarks(choices)]
    write_on_top(folder / 'recipe.py', base, lines, changes)
    lines = ['# What this machine adds; tools/train.py trains this file.', *_remarks(machine)]
    changes = {}
    for each in machine:
        node = changes
        *parents, last = each.setting.split('.')
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = each.value
    write_on_top(folder / 'config.py', 'recipe.py', lines, changes)
    return folder / 'config.py'


def _remarks(choices: Sequence[Chosen]) -> list[str]:
    return [f'# {each.setting} = {each.value}: {each.why}'.replace('\n', ' ') for each in choices]


def write_on_top(path: Path, base: str, remarks: Sequence[str], changes: Mapping[str, Any]) -> None:
    """Write a config that changes another one."""
    body = [f'{name} = {written(value)}' for name, value in changes.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join([*remarks, f'_base_ = {base!r}', '', *body]) + '\n')
    read_config_file(str(path))


def difference(base: Any, wanted: Any) -> dict[str, Any]:
    """Return what a config on top of ``base`` has to say that ``wanted`` comes of it; lists are replaced as a whole."""
    changes: dict[str, Any] = {}
    for key, value in wanted.items():
        if key in base and base[key] == value:
            continue
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            gone = base[key].keys() - value.keys()
            changes[key] = dict(_delete_=True, **value) if gone else difference(base[key], value)
        else:
            changes[key] = value
    return changes


def written(value: Any, indent: int = 0) -> str:
    """Write a value as a config has it: dicts as calls, a line for each entry where one line is too long."""
    if isinstance(value, dict) and all(isinstance(key, str) and key.isidentifier() for key in value):
        entries, ends = [f'{key}={written(each, indent + 4)}' for key, each in value.items()], ('dict(', ')')
    elif isinstance(value, list):
        entries, ends = [written(each, indent + 4) for each in value], ('[', ']')
    else:
        return repr(value)
    line = ', '.join(entries).join(ends)
    if indent + len(line) <= _WIDTH and '\n' not in line:
        return line
    space = ' ' * indent
    return f'{ends[0]}\n' + ''.join(f'{space}    {entry},\n' for entry in entries) + f'{space}{ends[1]}'
