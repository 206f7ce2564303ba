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

from mmengine.dist import get_world_size
from mmengine.runner import Runner

from mmrs_ssl.cli.machine_errors import explain_machine
from mmrs_ssl.transfer.sources import why_refused


@contextmanager
def clear_errors() -> Iterator[None]:
    """Let an exception end the program with its traceback and, last, one line that says what is wrong."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        print(f'\nerror: {explain(error)}', file=sys.stderr, flush=True)
        if get_world_size() > 1:
            end_at_once(1)
        sys.exit(1)


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
    return _unknown_key(error) or _empty_epoch(error) or explain_machine(error) or text


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
