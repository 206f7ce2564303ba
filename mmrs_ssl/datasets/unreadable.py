"""Pass over what cannot be read, count it, and stop when it is too much."""

import logging
import math
from collections.abc import Sequence

import torch
from mmengine.dist import get_dist_info
from mmengine.logging import print_log

from mmrs_ssl.rasters.errors import UnreadableImageError


def allowance(total: int, share: float) -> int:
    """Compute how many of ``total`` may be bad: ``share`` of them, rounded up, but never all."""
    return min(math.ceil(share * total), total - 1)


def refuse_or_warn(
    problems: Sequence[str], total: int, share: float, noun: str, option: str, error: type[Exception]
) -> None:
    """Warn about problems known before training starts, or raise ``error`` if there are more than allowed."""
    if not problems:
        return
    allowed, shown = allowance(total, share), '; '.join(problems[:3])
    more = f'; and {len(problems) - 3} more' if len(problems) > 3 else ''
    if len(problems) > allowed:
        raise error(
            f'{len(problems)} of {total} {noun} cannot be used, more than the {allowed} that {_name(option)}={share} '
            f'allows: {shown}{more}. Mend or remove them, or raise {option}'
        )
    print_log(f'skipped {len(problems)} of {total} {noun}: {shown}{more}', 'current', logging.WARNING)


class SkipCounter:
    """Count what turns out unreadable while training, over all workers of this process.

    Args:
        total: how many there are.
        share: allowed share of unreadable ones, in [0, 1]; one is always allowed unless it is 0.
        noun: what they are, for the messages.
        option: the setting that holds ``share``.
        scenes: of how many scenes they are parts, where one warning for each scene is enough; 0 for a warning each.
    """

    def __init__(self, total: int, share: float, noun: str, option: str, scenes: int = 0) -> None:
        self.rank, _ = get_dist_info()
        self.share, self.noun, self.option = share, noun, option
        self.allowed = allowance(total, share)
        # In shared memory, so that all workers of this process count together.
        self.bad = torch.zeros(total, dtype=torch.uint8).share_memory_()
        self.told = torch.zeros(max(scenes, 1), dtype=torch.uint8).share_memory_()
        self.per_scene = scenes > 0

    def note(self, index: int, error: UnreadableImageError, scene: int = 0) -> None:
        """Count an unreadable one and warn once about it; of a scene's parts about the first, then in powers of ten.

        Raises:
            UnreadableImageError: when there are more than allowed.
        """
        if self.bad[index]:
            return
        self.bad[index] = 1
        count, total = int(self.bad.sum()), len(self.bad)
        if count > self.allowed:
            raise UnreadableImageError(
                f'{count} of {total} {self.noun} are unreadable, more than the {self.allowed} that '
                f'{_name(self.option)}={self.share} allows; the last one: {error}. Repair or remove them, or raise '
                f'{self.option}'
            ) from error
        # mmengine shows only errors of processes other than the first.
        level = logging.ERROR if self.rank else logging.WARNING
        limit = f'(at most {self.allowed} of {total})'
        if self.per_scene and self.told[scene]:
            if count > 1 and str(count).rstrip('0') == '1':
                print_log(
                    f'skipped {count} unreadable {self.noun} (at most {self.allowed} of {total})', 'current', level
                )
            return
        self.told[scene] = 1
        more = f'; further {self.noun} of this scene are only counted' if self.per_scene else ''
        print_log(f'skipped unreadable {self.noun.removesuffix("s")} {count} {limit}: {error}{more}', 'current', level)


def _name(option: str) -> str:
    return option.rsplit('.', 1)[-1]
