"""Write the config of a pre-training that was worked out: the shipped one, and a small file on top that says why."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmrs_ssl.cli.config import check_schedule, override, read_config_file
from mmrs_ssl.cli.pretrain_pixels import set_statistics
from mmrs_ssl.cli.recipe import PROTOTYPES, QUEUES, Chosen, Facts, Recipe
from mmrs_ssl.cli.settings import check_settings
from mmrs_ssl.cli.short_names import find_value
from mmrs_ssl.datasets.transforms.loading import LoadRaster
from mmrs_ssl.shipped_configs import copy_config, get_config

_ROOM = 0.01  # share of bad files beside those that are known
_WIDTH = 110
# Of --init: what README says of continual pre-training
_INIT_RATE, _INIT_WARMUP = 0.2, 0.02


def make_config(
    recipe: Recipe, seed: int, settings: Mapping[str, Any], init: str | None = None
) -> tuple[Config, tuple[Chosen, ...]]:
    """Make the config of a recipe, with statistics measured on a sample; the user's own settings rule.

    Args:
        recipe: what was chosen.
        seed: of all that is random.
        settings: the user's own.
        init: the file whose weights the training will start from, which it is not told here.

    Returns:
        The config, and all choices: those of the recipe, the statistics, and the user's own.

    Raises:
        KeyError, TypeError, ValueError: for settings that lead nowhere or cannot be meant.
    """
    cfg = get_config(recipe.config)
    init_default_scope(cfg.get('default_scope') or 'mmpretrain')
    facts = recipe.facts
    if len(facts.modalities) > 1:
        set_modalities(cfg, facts)
    elif facts.kind == 'geotiff':
        set_bands(cfg, facts)
    override(cfg, recipe_options(cfg, recipe))
    started = _start_softly(cfg, init) if init else []
    with _as_settings():
        override(cfg, {name: value for name, value in settings.items() if name.split('.')[0] != 'statistics'})
    cfg.randomness = dict(seed=seed)
    check_settings(cfg)
    check_schedule(cfg)
    heights = frozenset(name for name, bands in facts.modalities.items() if bands.heights)
    told = set_statistics(cfg, heights)
    with _as_settings():
        override(cfg, dict(settings))  # also in place of what was measured
    steps = max(1, recipe.epoch // cfg.train_dataloader.batch_size)
    cfg.default_hooks.logger.interval = min(cfg.default_hooks.logger.interval, steps)
    own = [Chosen(name, value, 'as asked for') for name, value in settings.items()]
    kept = [each for each in (*recipe.choices, *started) if each.setting not in settings]
    measured = [Chosen(name, *value_and_why) for name, value_and_why in told.items()]
    rate = _learning_rate(cfg, recipe, bool(init))
    return cfg, (*kept, *own, rate, *measured, Chosen('seed', seed, 'of all that is random'))


@contextmanager
def _as_settings() -> Iterator[None]:
    """Call what the user gave by its name alone: this command has no ``--cfg-options``."""
    try:
        yield
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        text = str(error.args[0]) if error.args else ''
        if '--cfg-options ' not in text:
            raise
        raise type(error)(text.replace('--cfg-options ', '')) from error


def _start_softly(cfg: Config, init: str) -> list[Chosen]:
    """Lower learning rate and warm-up for weights that exist; returns what that changes, for the table."""
    cfg.optim_wrapper.optimizer.lr *= _INIT_RATE
    told = [Chosen('init', init, 'the backbone starts from it; tools/train.py has to be given --init FILE, too')]
    if (found := find_value(cfg, 'warmup')) > _INIT_WARMUP:
        override(cfg, dict(warmup=_INIT_WARMUP))
        told.append(Chosen('warmup', _INIT_WARMUP, f'{found:g} is for random weights; here it is for the heads alone'))
    return told


def _learning_rate(cfg: Config, recipe: Recipe, init: bool) -> Chosen:
    rate, base = cfg.optim_wrapper.optimizer.lr, cfg.auto_scale_lr.base_batch_size
    batch = cfg.train_dataloader.batch_size
    why = f'{rate:g} for {base} images, scaled to {batch}'
    usual = get_config(recipe.config).optim_wrapper.optimizer.lr
    if init and rate == usual * _INIT_RATE:
        why += f'; {_INIT_RATE:g} of the {usual:g} for random weights, as --init gives weights'
    elif recipe['method'] == 'mssdf' and rate == usual:
        why += '; as published for its deep networks (the demo, of 4 narrow layers, takes more)'
    return Chosen('learning rate', f'{rate * batch / base:.3g}', why)


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
    left_out, limit = facts.left_out, 'max_unreadable'
    if facts.kind == 'geotiff':
        left_out += facts.smaller(recipe['window']) / sum(facts.shapes.values())  # in which no window fits
        limit = 'max_bad'
    elif facts.convert:
        options['convert'] = 'rgb'
    if facts.exclude:
        options['exclude'] = list(facts.exclude)
    if left_out:
        options[f'train_dataloader.dataset.{limit}'] = min(1.0, round(left_out + _ROOM, 3))
    return options


def set_bands(cfg: Config, facts: Facts) -> None:
    """Say in a config of scenes which files are which, how many bands there are, and whether they are colors."""
    dataset, bands = cfg.train_dataloader.dataset, facts.modalities['']
    dataset.files = facts.rules['']
    if facts.band_files:
        dataset.band_files = list(facts.band_files)
    if 'bands' in cfg.short_names and not facts.band_files:
        override(cfg, dict(bands=bands.number))
    for transform in dataset.pipeline:
        if bands.color and 'colors' in transform:
            transform.colors = True
        if facts.convert and transform['type'].rsplit('.', 1)[-1] == LoadRaster.__name__:
            transform.convert = 'rgb'


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
    cfg: Config,
    recipe: Recipe,
    choices: Sequence[Chosen],
    machine: Sequence[Chosen],
    folder: Path,
    overwrite: bool = False,
) -> Path:
    """Write the shipped config, ``recipe.py`` on top of it, and ``config.py`` with what the machine adds.

    Returns:
        The path of ``config.py``, from which the same config is read.

    Raises:
        FileExistsError: if the folder has another ``recipe.py``, unless ``overwrite`` gives it up.
    """
    path, base = folder / 'recipe.py', f'configs/{recipe.config}.py'
    changes = difference(get_config(recipe.config).to_dict(), cfg.to_dict())
    lines = ['# What the images alone decide; each setting with its reason.', *_remarks(choices)]
    if path.exists() and path.read_text() != text_on_top(base, lines, changes) and not overwrite:
        raise FileExistsError(
            f'{path} says otherwise than what was worked out now: write over it with --overwrite, or give another '
            'folder with --work-dir'
        )
    copy_config(recipe.config, folder / 'configs')
    write_on_top(path, base, lines, changes)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_on_top(base, remarks, changes))
    read_config_file(str(path))


def text_on_top(base: str, remarks: Sequence[str], changes: Mapping[str, Any]) -> str:
    """Return the text of a config that changes another one."""
    body = [f'{name} = {written(value)}' for name, value in changes.items()]
    return '\n'.join([*remarks, f'_base_ = {base!r}', '', *body]) + '\n'


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
