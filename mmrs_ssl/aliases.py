"""Names of version 0.1 that go on working: registered classes, options, values and keys of checkpoints.

Each is accepted with one ``DeprecationWarning`` in a process. No other file knows them.
"""

import functools
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor

from mmrs_ssl.registry import HOOKS, TRANSFORMS

Class = TypeVar('Class', bound=type)

# registered name -> what it is called now
TRANSFORM_NAMES = {
    'ColourJitter': 'ColorJitter',
    'RandomBlur': 'RandomGaussianBlur',
    'RandomGrey': 'RandomGrayscale',
    'RandomSolarise': 'RandomSolarize',
    'ShrinkToSize': 'ResizeToSize',
}
HOOK_NAMES = {'EpochSeedHook': 'StepSeedHook'}
# class -> option -> what it is called now, or all it became; of an option of a part the path to it, where * stands for
# every key of a dictionary
OPTIONS: dict[str, dict[str, str | tuple[str, ...]]] = {
    'CMIDViews': {'shrink': 'resize'},
    'CropViews': {'colours': 'colors'},
    'DINOMC': {'centre_momentum': 'center_momentum'},
    'MSSDF': {
        'alignment_samples': 'compared_places',
        'alignment_temperature': 'terms.alignment.temperature',
        'decoder_channels': 'fusion.channels',
        'decoder_heads': ('fusion.heads', 'decoder.heads'),
        'decoder_layers': 'decoder.layers',
        'fusion_layers': 'fusion.layers',
        'gives_way': 'masking.masked_modality',
        'independence': 'terms.independence.of',
        'information_aware': 'masking.information_aware',
        'loss_weights': 'terms.*.weight',
        'mask_ratio': 'masking.ratio',
        'masked_modality': 'masking.masked_modality',
        'normalise_targets': 'targets.normalize',
        'normalize_targets': 'targets.normalize',
        'reconstruction_weights': 'terms.reconstruction.modality_weights',
        'shortcuts': ('fusion.shortcuts', 'decoder.shortcuts'),
        'substitution': 'masking.substitution',
    },
    'PretrainedBackboneHook': {'normalisation': 'normalization'},
}
# class -> option -> value -> what it is called now
VALUES = {
    'LoadRaster': {'height': {'colours': 'colors'}},
    'ScheduleHook': {'path': {'substitution': 'masking.substitution'}, 'schedule': {'stairs': 'step'}},
}
# how names of weights and buffers begin in a model's checkpoint -> how they begin now
WEIGHTS = {'centre.': 'center.'}

_said: set[str] = set()


def accept_old_options(cls: Class) -> Class:
    """Decorate a class whose options were renamed: it takes the old ones too.

    Where both are given the old one counts: it is a user's, over a config of this project that has the new one.
    """
    options = OPTIONS.get(cls.__name__, {})
    values: dict[str, dict[str, str]] = VALUES.get(cls.__name__, {})
    init = cls.__init__  # type: ignore[misc]

    @functools.wraps(init)
    def with_old_options(self: Any, *args: Any, **kwargs: Any) -> None:
        for old in [option for option in options if option in kwargs]:
            new = options[old]
            paths = (new,) if isinstance(new, str) else new
            _warn(f'{cls.__name__}({old}=...)', ', '.join(f'{path}=...' for path in paths))
            value = kwargs.pop(old)
            for path in paths:
                _put(kwargs, path.split('.'), value)
        for option, renamed in values.items():
            if isinstance(kwargs.get(option), str) and kwargs[option] in renamed:
                old = kwargs[option]
                _warn(f'{cls.__name__}({option}={old!r})', f'{option}={renamed[old]!r}')
                kwargs[option] = renamed[old]
        init(self, *args, **kwargs)

    cls.__init__ = with_old_options  # type: ignore[misc]
    return cls


def _put(options: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set an option of a part, in copies of the dictionaries that lead to it."""
    name, *rest = path
    if name == '*':
        for each, own in (value or {}).items():
            _put(options, [each, *rest], own)
    elif rest:
        options[name] = dict(options.get(name) or {})
        _put(options[name], rest, value)
    else:
        options[name] = value


def register_old_names() -> None:
    """Register classes under their old names as well; call it when they have their own."""
    for registry, names in ((TRANSFORMS, TRANSFORM_NAMES), (HOOKS, HOOK_NAMES)):
        for old, new in names.items():
            registry.register_module(name=old, module=_builder(old, registry.module_dict[new]))


def _builder(old: str, cls: type) -> Any:
    @functools.wraps(cls, updated=())
    def build(**options: Any) -> Any:
        _warn(f"type='mmrs_ssl.{old}'", f"type='mmrs_ssl.{cls.__name__}'")
        return cls(**options)

    return build


def rename_weights(state_dict: dict[str, Tensor], prefix: str) -> None:
    """Give the weights of a model's checkpoint, whose names begin with ``prefix``, the names they have now."""
    for old, new in WEIGHTS.items():
        for key in [key for key in state_dict if key.startswith(prefix + old)]:
            _warn(f'a checkpoint with {key!r}', f'{new}*, which it gets when it is saved again')
            state_dict[prefix + new + key.removeprefix(prefix + old)] = state_dict.pop(key)


def _warn(old: str, new: str) -> None:
    if old not in _said:
        _said.add(old)
        warnings.warn(f'{old} is deprecated, it is now {new}', DeprecationWarning, stacklevel=3)
