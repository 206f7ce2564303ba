"""Size a self-distillation head to the data set."""

import math
from typing import NamedTuple

from mmrs_ssl.options import COUNT, check_numbers

PAPER_PROTOTYPES, PAPER_TEMPERATURE = 65_536, 0.04
FEWEST_PROTOTYPES, LOWEST_TEMPERATURE = 256, 0.02


class HeadSize(NamedTuple):
    """What a data set of some size asks of a head, and why."""

    num_prototypes: int
    teacher_temperature: float
    reason: str


def head_size(num_images: int | None) -> HeadSize:
    """Choose the number of prototypes and the temperature of the teacher for a data set of so many images.

    The published 65,536 prototypes belong to hundreds of thousands of images. With fewer images than prototypes most
    prototypes are never chosen, and the teacher's choices say little about the images. The default is the largest
    power of two that is not above the number of images, between 256 and 65,536.

    A small data set also has few steps, in which a teacher at the published 0.04 was seen to stay nearly even over its
    prototypes: in the first 125 steps of the demo (800 scenes) its choices held 6 to 15 % of the information they could
    hold, at 0.02 18 to 48 %. The temperature rises from 0.02 at 256 prototypes by equal steps with each doubling to
    0.04 at 65,536.

    Args:
        num_images: training images, at least 1; None if it is not known, which gives the published values.

    Raises:
        ValueError: for a number that is none of a data set.

    Source of the published values: DINO-MC (arXiv 2303.06670), section 4; the rule for small data sets is of this
    project.
    """
    if num_images is None:
        return HeadSize(
            PAPER_PROTOTYPES,
            PAPER_TEMPERATURE,
            'as published: the size of the data set is not known (tools/train.py counts it, or set model.num_images)',
        )
    check_numbers('', COUNT, num_images=num_images)
    if num_images >= PAPER_PROTOTYPES:
        return HeadSize(PAPER_PROTOTYPES, PAPER_TEMPERATURE, f'as published, for {num_images:,} images')
    prototypes = max(FEWEST_PROTOTYPES, 2 ** (num_images.bit_length() - 1))
    rise = math.log(prototypes / FEWEST_PROTOTYPES) / math.log(PAPER_PROTOTYPES / FEWEST_PROTOTYPES)
    return HeadSize(
        prototypes,
        LOWEST_TEMPERATURE + rise * (PAPER_TEMPERATURE - LOWEST_TEMPERATURE),
        f'{num_images:,} images are too few for the published {PAPER_PROTOTYPES:,} and {PAPER_TEMPERATURE}',
    )
