"""Read the config of a command line, with the options that override it."""

import inspect
import traceback
from argparse import Namespace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from mmrs_ssl.cli.errors import accepted_options
from mmrs_ssl.cli.launch import set_launcher
from mmrs_ssl.cli.settings import check_settings
from mmrs_ssl.cli.short_names import list_short_names, set_short_names
from mmrs_ssl.shipped_configs import config_names, config_root

# Read by mmengine or the libraries from the config itself, beside Runner's own parameters.
_OTHER_KEYS = {
    'auto_scale_lr',
    'custom_imports',
    'data_preprocessor',
    'data_root',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'optimizer_wrapper',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
    'compile',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
}
_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def read_config(args: Namespace) -> Config:
    """Read the config named on the command line and apply ``--cfg-options``, ``--work-dir`` and ``--launcher``.

    Raises:
        FileNotFoundError: if there is no such file.
        KeyError: if an option names nothing that the config or the runner knows.
        ValueError: for a file that is no config, and for impossible settings.
    """
    args.config = config_file(args.config, args.by_name)
    cfg = read_config_file(args.config)
    override(cfg, args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = f'work_dirs/{Path(args.config).stem}'
    init_default_scope(cfg.get('default_scope') or 'mmpretrain')
    check_settings(cfg)
    check_schedule(cfg)
    set_launcher(cfg, args.launcher)
    return cfg


def read_config_file(file: str) -> Config:
    """Read a config file and its bases.

    Raises:
        ValueError: naming the file, of it or its bases, and the line that is wrong.
    """
    try:
        return Config.fromfile(file)
    except Exception as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        for copy in (frame.f_locals['temp_config_file'] for frame in frames if 'temp_config_file' in frame.f_locals):
            copy.close()  # which mmengine leaves open
        names = [str(frame.f_locals['filename']) for frame in frames if 'filename' in frame.f_locals]
        read = [name for name in names if Path(name).suffix in _SUFFIXES]
        lines = [f.f_lineno for f in frames if f.f_code.co_name == '<module>' and f.f_code.co_filename in read]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = (read or [file])[-1] + (f', line {line}' if line else '')
        if isinstance(error, SyntaxError) and error.text:
            where += f' ({error.text.strip()})'
        if read and Path(read[-1]).resolve() != Path(file).resolve():
            where += f', a base of {file}'
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        raise ValueError(
            f'{where}: {type(error).__name__}: {text}. Mend this file: a config is Python that sets variables, and '
            '_base_ names files relative to it'
        ) from error


def config_file(name: str, by_name: bool) -> str:
    """Return the path of a config, which may be called by the name that it ships under if ``by_name``.

    The file name alone is no such name: it might be meant for a file of the user's own that is not there.

    Raises:
        FileNotFoundError: if there is no such file; the message lists what there is.
    """
    if Path(name).is_file():
        return name
    shipped = config_names() if by_name else []
    if name.removesuffix('.py') in shipped:
        return str(config_root() / f'{name.removesuffix(".py")}.py')
    beside = sorted(p.name for p in Path(name).parent.glob('*.py'))
    near = get_close_matches(name.removesuffix('.py'), shipped, n=3, cutoff=0.4)
    raise FileNotFoundError(
        f'no config file {name!r}'
        + (f'; in that folder: {", ".join(beside)}' if beside else '')
        + (f'; near names of those that ship: {", ".join(near)}' if near else '')
        + ('; mmrs-ssl configs list names them all' if by_name and not near else '')
    )


def check_elements(cfg: Config, option: str) -> None:
    """Refuse a path that names an element of a list otherwise than by its number, of which mmengine says no place.

    Raises:
        KeyError: naming the list and what is in it.
    """
    node: Any = cfg._cfg_dict
    for depth, part in enumerate(parts := option.split('.')):
        if isinstance(node, list | tuple):
            if not (part.isdecimal() and int(part) < len(node)):
                kinds = [each.get('type', '...') if isinstance(each, dict) else repr(each) for each in node]
                listed = ', '.join(f'{number}: {kind}' for number, kind in enumerate(kinds)) or 'nothing'
                raise KeyError(f'--cfg-options {option}: {".".join(parts[:depth])} is a list; expected one of {listed}')
            node = node[int(part)]
        else:
            node = node.get(part) if isinstance(node, dict) else None


def override(cfg: Config, options: dict[str, Any]) -> None:
    """Merge options into a config, in place: dotted paths, and the short names that the config declares.

    Where both set one place the path counts. ``data_root`` stands at the top of OpenMMLab's configs and is copied into
    their data sets when the file is read; the override goes wherever the old value went. Modules that
    ``custom_imports`` names anew are imported, as mmengine does when it reads a file.

    Raises:
        KeyError: for a first part that the runner does not know, a variable whose change would have no effect, or a
            short name that leads nowhere.
        ImportError: for a module that is not there.
    """
    short = cfg.get('short_names') or {}
    options = set_short_names(cfg, options)
    known = set(inspect.signature(Runner.__init__).parameters) | _OTHER_KEYS
    for option in options:
        first = option.split('.')[0]
        if first in known:
            check_elements(cfg, option)
            continue
        if first in cfg:
            raise KeyError(
                f'--cfg-options {option}: {first!r} is a variable of the config file that was copied when the file was '
                'read; override the place that uses it, e.g. train_dataloader.dataset.pipeline.1.size=...'
            )
        near = get_close_matches(first, [*short, *known], n=3) or sorted(set(cfg) & known)
        listed = f' Its short names: {list_short_names(cfg)}' if short else ''
        raise KeyError(
            f'--cfg-options {option}: the config has no key {first!r}; did you mean {", ".join(near)}?{listed}'
        )
    if 'data_root' in options and 'data_root' in cfg:
        _replace(cfg._cfg_dict, 'data_root', cfg.data_root, options['data_root'])
    cfg.merge_from_dict(options)
    if any(option.split('.')[0] == 'custom_imports' for option in options) and cfg.get('custom_imports'):
        import_modules_from_strings(**cfg._cfg_dict['custom_imports'])


def check_schedule(cfg: Config) -> None:
    """Refuse a training that ends before one of its schedules begins (mmengine's own message names neither).

    Likewise a warm-up that is a share of the training, and a cosine that does not begin where it ends.
    """
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    schedulers = cfg.get('param_scheduler') or []
    schedulers = schedulers if isinstance(schedulers, list) else [schedulers]
    for i, scheduler in enumerate(schedulers):
        begin = scheduler.get('begin', 0)
        if epochs is not None and scheduler.get('by_epoch', True) and begin >= epochs:
            raise ValueError(
                f'train_cfg.max_epochs={epochs} ends before param_scheduler.{i} ({scheduler.type}) begins, at epoch '
                f'{begin}; train longer or shorten the warm-up, e.g. --cfg-options '
                f'param_scheduler.{max(i - 1, 0)}.end=1 param_scheduler.{i}.begin=1'
            )
    shared = [s for s in schedulers if 'share' in s]
    if len({(s.share, s.get('begin', 0), s.get('end')) for s in shared}) > 1:
        found = ', '.join(f'{s.type} share={s.share} begin={s.get("begin", 0)} end={s.get("end")}' for s in shared)
        raise ValueError(
            'the warm-up is a share of the training, and its schedulers must have the same share, begin and end; found '
            f'{found}. Set it with --cfg-options warmup=0.1'
        )


def count_images(cfg: Config) -> None:
    """Write the number of training images into the model's config, where the method sizes itself by it.

    That is a method of this package whose class takes ``num_images``, in a config that leaves open what depends on it.
    The data set is built for it without its pipeline; headers of rasters are kept for the one that trains.
    """
    model: Any = cfg.get('model') or {}
    cls = MODELS.get(model.type) if str(model.get('type')).startswith('mmrs_ssl.') else None
    if cls is None or 'num_images' in model or 'num_images' not in accepted_options(cls):
        return
    if 'num_prototypes' not in model.head or model.get('teacher_temperature') is None:
        model.num_images = len(DATASETS.build({**cfg.train_dataloader.dataset, 'pipeline': []}))


def _replace(node: Any, key: str, old: Any, new: Any) -> None:
    """Set ``key`` to ``new`` in every dict below ``node`` where it is ``old``."""
    if isinstance(node, ConfigDict):
        if node.get(key) == old:
            node[key] = new
        for child in node.values():
            _replace(child, key, old, new)
    elif isinstance(node, list | tuple):
        for child in node:
            _replace(child, key, old, new)
