"""What the command-line tools share: reading a config with overrides, precision, launchers, clear errors."""

import ctypes
import inspect
import pickle
import re
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.dist import get_world_size
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner

from mmrs_ssl.engine import start_gloo
from mmrs_ssl.transfer.sources import why_refused

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

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h


def add_config_arguments(parser: ArgumentParser) -> None:
    """The arguments that training and testing share."""
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where checkpoints and logs go (default: work_dirs/<name of the config>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='override settings of the config, e.g. data_root=my/images train_cfg.max_epochs=20',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torchrun passes it; everything else reads LOCAL_RANK from the environment
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')


def read_config(args: Namespace) -> Config:
    """Read the config named on the command line and apply ``--cfg-options``, ``--work-dir`` and ``--launcher``.

    Raises:
        FileNotFoundError: if there is no such file.
        KeyError: if an option names nothing that the config or the runner knows.
    """
    if not Path(args.config).is_file():
        near = sorted(p.name for p in Path(args.config).parent.glob('*.py'))
        raise FileNotFoundError(
            f'no config file {args.config!r}' + (f'; in that folder: {", ".join(near)}' if near else '')
        )
    cfg = Config.fromfile(args.config)
    override(cfg, args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = f'work_dirs/{Path(args.config).stem}'
    check_schedule(cfg)
    set_launcher(cfg, args.launcher)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    return cfg


def override(cfg: Config, options: dict[str, Any]) -> None:
    """Merge dotted options into a config, in place.

    ``data_root`` stands at the top of OpenMMLab's configs and is copied into their data sets when the file is read; the
    override goes wherever the old value went.

    Raises:
        KeyError: for a first part that the runner does not know, or a variable whose change would have no effect.
    """
    known = set(inspect.signature(Runner.__init__).parameters) | _OTHER_KEYS
    for option in options:
        first = option.split('.')[0]
        if first in known:
            continue
        if first in cfg:
            raise KeyError(
                f'--cfg-options {option}: {first!r} is a variable of the config file that was copied when the file was '
                'read; override the place that uses it, e.g. train_dataloader.dataset.pipeline.1.size=...'
            )
        near = get_close_matches(first, known, n=3) or sorted(set(cfg) & known)
        raise KeyError(f'--cfg-options {option}: the config has no key {first!r}; did you mean {", ".join(near)}?')
    if 'data_root' in options and 'data_root' in cfg:
        _replace(cfg._cfg_dict, 'data_root', cfg.data_root, options['data_root'])
    cfg.merge_from_dict(options)


def check_schedule(cfg: Config) -> None:
    """Refuse a training that ends before one of its schedules begins (mmengine's own message names neither)."""
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    schedulers = cfg.get('param_scheduler') or []
    for i, scheduler in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
        begin = scheduler.get('begin', 0)
        if epochs is not None and scheduler.get('by_epoch', True) and begin >= epochs:
            raise ValueError(
                f'train_cfg.max_epochs={epochs} ends before param_scheduler.{i} ({scheduler.type}) begins, at epoch '
                f'{begin}; train longer or shorten the warm-up, e.g. --cfg-options '
                f'param_scheduler.{max(i - 1, 0)}.end=1 param_scheduler.{i}.begin=1'
            )


def count_images(cfg: Config) -> None:
    """Write the number of training images into the model's config, where the method sizes itself by it.

    That is a method of this package whose class takes ``num_images``, in a config that leaves open what depends on it.
    The data set is built for it without its pipeline; headers of rasters are kept for the one that trains.
    """
    model: Any = cfg.get('model') or {}
    cls = MODELS.get(model.type) if str(model.get('type')).startswith('mmrs_ssl.') else None
    if cls is None or 'num_images' in model or 'num_images' not in _accepted(cls):
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


def set_launcher(cfg: Config, launcher: str) -> None:
    """Prepare a config for a launcher; without a GPU processes talk by gloo and the model gets a CPU wrapper."""
    cfg.launcher = launcher
    if launcher == 'none' or torch.cuda.is_available():
        return
    if launcher != 'pytorch':
        raise ValueError(f'--launcher {launcher} needs a GPU; on the CPU use tools/dist_train.sh (--launcher pytorch)')
    start_gloo()
    cfg.model_wrapper_cfg = dict(
        type='mmrs_ssl.CPUDistributedDataParallel', find_unused_parameters=cfg.get('find_unused_parameters', False)
    )


def set_precision(cfg: Config, amp: bool) -> None:
    """Turn on mixed precision when asked, and make a mixed-precision config run on the CPU.

    bfloat16 where the device has it (and on the CPU), else float16.
    """
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        raise ValueError('the config has no optim_wrapper: there is nothing to train')
    kind = wrapper.get('type', 'OptimWrapper')
    kind = (kind if isinstance(kind, str) else kind.__name__).rsplit('.', 1)[-1]
    if amp and kind == 'OptimWrapper':
        wrapper.type, wrapper.loss_scale, kind = 'AmpOptimWrapper', 'dynamic', 'AmpOptimWrapper'
        wrapper.dtype = 'bfloat16' if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else 'float16'
    elif amp and 'Amp' not in kind:
        raise ValueError(f'--amp does not know how to change optim_wrapper.type={kind!r}; set an Amp wrapper there')
    if kind == 'AmpOptimWrapper' and not torch.cuda.is_available():
        print('no GPU: mixed precision on the CPU is bfloat16', file=sys.stderr)
        wrapper.type = 'mmrs_ssl.CPUAmpOptimWrapper'
        wrapper.pop('loss_scale', None)
        wrapper.pop('dtype', None)


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step, on machines without a GPU.

    By default glibc returns the large buffers of every step to the kernel and faults them in again, page by page; that
    was seen to cost a third of a training step. A library without ``mallopt`` has other habits and is left alone.
    """
    if torch.cuda.is_available():
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # large buffers come from the heap,
        mallopt(_M_TRIM_THRESHOLD, -1)  # which does not shrink,
        mallopt(_M_TOP_PAD, 2**26)  # and grows by 64 MB


@contextmanager
def clear_errors() -> Iterator[None]:
    """Let an exception end the program with its traceback and, last, one line that says what is wrong."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        print(f'\nerror: {explain(error)}', file=sys.stderr, flush=True)
        sys.exit(1)


def explain(error: Exception) -> str:
    """One paragraph for an error: without the tracebacks of data workers, with advice where we have any."""
    if isinstance(error, pickle.UnpicklingError):  # torch's own message advises to read the file without the check
        return f'the checkpoint is refused, nothing in it was run: {why_refused(error)}'
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'DataLoader worker' in text:
        text = text.strip().rsplit('\n', 1)[-1]
        text = re.sub(r'^[\w.]+(Error|Exception): ', '', text)
    return _unknown_key(error) or _empty_epoch(error) or text


def _unknown_key(error: Exception) -> str | None:
    """If a registered class refused its arguments: which one it does not know and which it takes.

    mmengine's registry passes a config's keys on as arguments; its innermost frame holds the class and the keys.
    """
    if not (isinstance(error, TypeError) and re.search('unexpected keyword argument|takes no arguments', str(error))):
        return None
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    built = [(values['obj_cls'], values['args']) for values in frames if 'obj_cls' in values and 'args' in values]
    if not built:
        return None
    cls, given = built[-1]
    accepted = _accepted(cls)
    unknown = [key for key in given if key not in accepted]
    if not unknown:
        return None
    near = get_close_matches(unknown[0], accepted, n=1)
    text = f'unknown config key {unknown[0]!r} of {cls.__name__}; ' + (f'did you mean {near[0]!r}? ' if near else '')
    return text + f'it takes {", ".join(accepted) or "none"}'


def _empty_epoch(error: Exception) -> str | None:
    """If mmengine found an epoch without iterations: how many samples there are for a batch of what size."""
    if '`epoch_length` must be a positive integer' not in str(error):
        return None
    owners = [frame.f_locals.get('self') for frame, _ in traceback.walk_tb(error.__traceback__)]
    loaders = [owner.train_dataloader for owner in owners if isinstance(owner, Runner)]
    if not loaders:
        return None
    samples, batch, world = len(loaders[0].dataset), loaders[0].batch_size, get_world_size()
    where = f' on each of {world} processes' if world > 1 else ''
    return (
        f'{samples} training samples are fewer than a batch of {batch}{where}, and drop_last leaves no iteration; add '
        f'images, or lower train_dataloader.batch_size to {samples // world} at most'
    )


def _accepted(cls: type) -> list[str]:
    """Names of a class's constructor parameters, its bases' included as far as it passes ``**kwargs`` on."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        names |= {p.name: None for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if all(p.kind != p.VAR_KEYWORD for p in parameters):
            break
    return list(names)
