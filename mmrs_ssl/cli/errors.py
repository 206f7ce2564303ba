"""End a program with one line that says what is wrong."""

import atexit
import inspect
import os
import pickle
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.registry import Registry
from mmengine.runner import Runner

from mmrs_ssl.cli.machine_errors import explain_machine
from mmrs_ssl.cli.places import built_place, config_of, option_place, walk
from mmrs_ssl.cli.widths import explain_width
from mmrs_ssl.options import OptionError
from mmrs_ssl.transfer.sources import why_refused

TRACEBACK = '--traceback'
# whose text may be a word or nothing
_BARE = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ZeroDivisionError)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Let an exception end the program with one paragraph that says what is wrong.

    The traceback goes to the log file where there is one, and to the console where ``--traceback`` was given, which
    every program takes: it is removed from the command line.
    """
    wanted = TRACEBACK in sys.argv
    sys.argv[:] = [each for each in sys.argv if each != TRACEBACK]
    try:
        yield
    except Exception as error:
        log = write_to_log(traceback.format_exc())
        if wanted:
            traceback.print_exc()
        else:
            print(f'\n(where it was raised: {log or TRACEBACK})', file=sys.stderr)
        print(f'\nerror: {explain(error)}', file=sys.stderr, flush=True)
        if get_world_size() > 1:
            end_at_once(1)
        sys.exit(1)


def write_to_log(text: str) -> str | None:
    """Write a text to the file of the current log; returns its name, None if there is no file, or it cannot be."""
    files = [each.baseFilename for each in MMLogger.get_current_instance().handlers if hasattr(each, 'baseFilename')]
    try:
        for file in files[:1]:
            with Path(file).open('a') as log:  # a handler would report a disk that is full by a traceback of its own
                log.write(f'{text}\n')
            return file
    except OSError:
        pass
    return None


def end_at_once(code: int) -> None:
    """End one of several processes, on which others may wait, without freeing its memory piece by piece."""
    atexit._run_exitfuncs()  # which end data workers
    sys.stdout.flush()
    os._exit(code)


def explain(error: Exception) -> str:
    """Explain an error in one paragraph: without the tracebacks of data workers, with advice where there is any."""
    if isinstance(error, pickle.UnpicklingError):  # torch's own message advises to read the file without the check
        return f'the checkpoint is refused, nothing in it was run: {why_refused(error)}'
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'DataLoader worker' in text:
        text = text.strip().rsplit('\n', 1)[-1]
        text = re.sub(r'^[\w.]+(Error|Exception): ', '', text)
    if isinstance(error, OptionError):
        place = option_place(error)
        return f'{text} (in the config: {place})' if place else text
    return (
        _unknown_key(error)
        or _unknown_type(error, text)
        or _empty_epoch(error)
        or explain_machine(error)
        or explain_width(error)
        or _foreign(error, text)
    )


def _unknown_type(error: Exception, text: str) -> str | None:
    """Name the type that mmengine's registry does not know, where it stands, and those that are nearly called so."""
    found = re.search(r'(\S+) is not in the (\S+)::(.+?) registry', text)
    if found is None:
        return None
    kind, _, kinds = found.groups()
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    asked = next((each['registry'] for each in reversed(frames) if isinstance(each.get('registry'), Registry)), None)
    near = nearest_types(kind, asked) if asked is not None else []
    cfg = config_of(error)
    places = [path for path, node in walk(cfg._cfg_dict) if node.get('type') == kind] if cfg is not None else []
    return (
        f'unknown type {kind!r} of a {kinds}'
        + (f' (in the config: {places[0]}.type)' if places else '')
        + (f'; did you mean {" or ".join(near)}?' if near else ';')
        + ' Types of a package of your own need custom_imports=dict(imports=[...])'
    )


def nearest_types(kind: str, registry: Registry) -> list[str]:
    """Return the registered names, with their scopes, that a name is most like."""
    root = registry._get_root_registry()
    known = {name: name for name in root.module_dict}
    for scope, child in root.children.items():
        for name in child.module_dict:
            known.setdefault(name, f'{scope}.{name}')
    return [known[name] for name in get_close_matches(kind.rsplit('.', 1)[-1], known, n=3)]


def _foreign(error: Exception, text: str) -> str:
    """Add to what a library says of which part it said it; this package's own errors speak for themselves."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or f'{os.sep}mmrs_ssl{os.sep}' in frames[-1].filename or 'DataLoader worker' in str(error):
        return text or type(error).__name__
    said = text if text and not isinstance(error, _BARE) else f'{type(error).__name__}: {text or frames[-1].line}'
    built = built_place(error)
    return said if built is None else f'{said} (while {built[0]} was built of {built[1] or "the config"})'


def _unknown_key(error: Exception) -> str | None:
    """Name the argument that a registered class does not know and those it takes; None for other errors.

    mmengine's registry passes a config's keys on as arguments; its innermost frame holds the class and the keys.
    """
    if not (isinstance(error, TypeError) and re.search('unexpected keyword argument|takes no arguments', str(error))):
        return None
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    built = [(values['obj_cls'], values['args']) for values in frames if 'obj_cls' in values and 'args' in values]
    if not built:
        return None
    cls, given = built[-1]
    accepted = accepted_options(cls)
    unknown = [key for key in given if key not in accepted]
    if not unknown:
        return None
    near = get_close_matches(unknown[0], accepted, n=1)
    text = f'unknown config key {unknown[0]!r} of {cls.__name__}; ' + (f'did you mean {near[0]!r}? ' if near else '')
    return text + f'it takes {", ".join(accepted) or "none"}'


def _empty_epoch(error: Exception) -> str | None:
    """Say how many samples are too few for which batch if mmengine found an epoch without iterations; else None."""
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


def accepted_options(cls: type) -> list[str]:
    """List a class's constructor parameters, its bases' included as far as it passes ``**kwargs`` on."""
    names: dict[str, None] = {}
    for base in getattr(cls, '__wrapped__', cls).__mro__:  # an old name is a function around the class
        if '__init__' not in vars(base) or base is object:
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        names |= {p.name: None for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if all(p.kind != p.VAR_KEYWORD for p in parameters):
            break
    return list(names)
