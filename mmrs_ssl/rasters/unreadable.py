"""Pass over what cannot be read, count it, and stop when it is too much."""

import logging

import torch
from mmengine.dist import get_dist_info
from mmengine.logging import print_log

from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.tolerance import allowance


class SkipCounter:
    """Count what turns out unreadable while training, over all workers of this process.

    Args:
        total: how many there are.
        share: allowed share of unreadable ones, in [0, 1]; one is always allowed unless it is 0.
        noun: what they are, for the messages.
        option: the setting that holds ``share``.
        scenes: of how many scenes they are parts, where one warning for each scene is enough; 0 for a warning each.
        left_out: how many further ones were found bad before, and count as well.
    """

    def __init__(self, total: int, share: float, noun: str, option: str, scenes: int = 0, left_out: int = 0) -> None:
        self.rank, _ = get_dist_info()
        self.share, self.noun, self.option = share, noun, option
        self.left_out, self.allowed = left_out, allowance(total + left_out, share)
        # In shared memory, so that all workers of this process count together.
        self.bad = torch.zeros(total, dtype=torch.uint8).share_memory_()
        self.told = torch.zeros(max(scenes, 1), dtype=torch.uint8).share_memory_()
        self.per_scene = scenes > 0

    def note(self, index: int, error: ValueError, scene: int = 0) -> None:
        """Count an unreadable one and warn once about it; of a scene's parts about the first, then in powers of ten.

        Raises:
            UnreadableImageError: when there are more than allowed.
        """
        if self.bad[index]:
            return
        self.bad[index] = 1
        count, total = int(self.bad.sum()) + self.left_out, len(self.bad) + self.left_out
        if count > self.allowed:
            raise UnreadableImageError(
                f'{count} of {total} {self.noun} are unreadable, more than the {self.allowed} that '
                f'{self.option.rsplit(".", 1)[-1]}={self.share} allows; the last one: {error}. Repair or '
                f'remove them, or raise {self.option}'
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
