"""Start a training from weights that exist: ``--init FILE``."""

import copy
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS
from mmpretrain.models import BaseSelfSupervisor

from mmrs_ssl.cli.errors import accepted_options
from mmrs_ssl.engine.checkpoint_files import check_bytes
from mmrs_ssl.engine.hooks import PretrainedBackboneHook
from mmrs_ssl.models.quiet import quiet
from mmrs_ssl.transfer.own_checkpoints import read_settings

_HOOK = PretrainedBackboneHook.__name__


def start_from(cfg: Config, file: str | None, branch: str | None) -> None:
    """Let a training start from the backbone of a file, unless it goes on from a checkpoint.

    All is tried before the run is: a second model, not initialized, takes the weights and is thrown away.

    Args:
        cfg: after :func:`mmrs_ssl.cli.work_dir.held_work_dir`, which finds out whether the training goes on.
        file: named by ``--init``.
        branch: named by ``--init-branch``.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, it does not fit the model, or other weights are given.
    """
    if file is None:
        if branch is not None:
            raise ValueError(f'--init-branch {branch} says which network of --init FILE is taken: give that, too')
        return
    given = _find(cfg.get('custom_hooks'))
    if cfg.get('resume') and cfg.get('load_from'):
        began = f'began with {given["checkpoint"]}' if given else 'does not say that it began with a file'
        unlike = '' if given and given['checkpoint'] == file else f', which {began}'
        print(f'--init {file}: not loaded, the run goes on from {cfg.load_from}{unlike}', file=sys.stderr)
        return
    if cfg.get('load_from'):
        raise ValueError(f'--init {file} and load_from={cfg.load_from} both give weights: remove one')
    if given:
        raise ValueError(
            f'--init {file} and the {_HOOK} of the config ({given["checkpoint"]}) both give weights: remove one'
        )
    check_file(file)
    with quiet(logging.WARNING):
        model = MODELS.build(model_settings(cfg))
    # images of a pre-training are normalized as they are; a downstream task's as those of its pre-training
    normalization = 'keep' if isinstance(model, BaseSelfSupervisor) else 'check'
    options = dict(checkpoint=file, branch=branch, normalization=normalization)
    rehearse(cfg, model, PretrainedBackboneHook(**options))  # type: ignore[arg-type]
    _add(cfg, options)


def check_file(file: str) -> None:
    """Refuse what is no file, and a damaged one.

    Raises:
        FileNotFoundError, ValueError: saying what is expected.
    """
    path = Path(file)
    if path.is_dir():
        inside = ', '.join(sorted(each.name for each in path.glob('*.pth'))[-3:])
        raise ValueError(f'--init {file} is a folder, expected a file{f"; in it: {inside}" if inside else ""}')
    if not path.is_file():
        raise FileNotFoundError(
            f'--init {file}: no such file; give a checkpoint of a training, an exported backbone or published weights '
            '(.pth, .pt, .safetensors); addresses are not fetched'
        )
    check_bytes(path)


def rehearse(cfg: Config, model: Any, hook: PretrainedBackboneHook) -> None:
    """Let the hook do to a model what it will do when the training starts, and say nothing unless that fails."""
    stand_in = SimpleNamespace(
        model=model,
        cfg=cfg,
        train_dataloader=cfg.get('train_dataloader'),
        hooks=[],
        iter=0,
        _resume=False,
        _has_loaded=False,
        _load_from=None,
    )
    with quiet(logging.WARNING):
        hook.before_train(stand_in)


def take_over_start(cfg: Config, meta: Any) -> None:
    """Write into the config of a run that goes on what it began with, as its checkpoint says it.

    So the work dir and all later checkpoints say it, too. Nothing is loaded again, and the file need not be there. A
    hook of the config itself stays; one that adopted statistics has to be in the config, which rules.

    Args:
        cfg: of the run.
        meta: of the checkpoint.

    Raises:
        ValueError: if it says what the hook does not take.
    """
    text = meta.get('cfg') if isinstance(meta, dict) else None
    began = _find(read_settings(text).get('custom_hooks')) if isinstance(text, str) else None
    if began is None or began.get('normalization') == 'adopt' or _find(cfg.get('custom_hooks')):
        return
    known = accepted_options(PretrainedBackboneHook)
    options = {key: value for key, value in began.items() if key in known}
    PretrainedBackboneHook(**options)  # refuses what is no value of its options: the config that is written is Python
    if marked := [key for key, value in options.items() if isinstance(value, str) and '{{' in value]:
        said = f'{marked[0]}={options[marked[0]]!r:.200}'
        raise ValueError(f'its {_HOOK} has {said}, in which a config would replace what stands in braces')
    _add(cfg, options)


def _add(cfg: Config, options: dict[str, Any]) -> None:
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type=f'mmrs_ssl.{_HOOK}', **options)]


def _find(hooks: Any) -> dict[str, Any] | None:
    """Find the hook that loads a backbone among the hooks of a config."""
    for each in hooks if isinstance(hooks, list | tuple) else ():
        kind = each.get('type') if isinstance(each, dict) else None
        if str(getattr(kind, '__name__', kind)).rsplit('.', 1)[-1] == _HOOK and isinstance(each.get('checkpoint'), str):
            return each
    return None


def model_settings(cfg: Config) -> Any:
    """Copy the model's config, with the data preprocessor that stands beside it in some libraries' configs."""
    beside = cfg.get('data_preprocessor')
    return copy.deepcopy({**({'data_preprocessor': beside} if beside else {}), **cfg.model})
