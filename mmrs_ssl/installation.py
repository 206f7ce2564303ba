"""Says which part of an installation is missing, and the line that brings it, where imports would fail unclearly."""

import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

# Distributions that bring a module called mmcv.
FORMS = ('mmcv', 'mmcv-lite', 'onedl-mmcv')
# Modules and distributions of the extra: mmcv's operators, the libraries, and what mmsegmentation does not declare.
DOWNSTREAM = ('mmcv._ext', 'mmseg', 'mmsegmentation', 'mmdet', 'ftfy', 'regex')
EXTRAS = (
    "pip install 'mmrs_ssl[pretrain]' for pre-training (mmcv-lite, nothing is compiled), or 'mmrs_ssl[downstream]' as "
    "README's installation says for mmsegmentation and mmdetection (all of mmcv); in a clone make demo or make install"
)


def check_installation() -> None:
    """Import the two libraries that come in several forms, OpenCV and mmcv, or say what is wrong with them.

    Raises:
        ImportError: one of them is not there, not all there, or does not load; says what to install.
    """
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'OpenCV cannot be imported ({error}). On a machine without libGL take the one that opens no windows: '
            'pip uninstall -y opencv-python opencv-python-headless; pip install opencv-python-headless',
            name='cv2',
        ) from error
    recorded = [name for name in FORMS if _is_recorded(name)]
    again = f'pip uninstall -y {" ".join(recorded)}; then {EXTRAS}'
    spec = find_spec('mmcv')
    if spec is None or spec.origin is None:  # what is left of a package is a namespace, which has no origin
        raise ModuleNotFoundError(
            f'the files of {recorded[0]} are gone: mmcv and mmcv-lite have the same, and removing either removes both. '
            f'Install one anew: {again}'
            if recorded
            else f'mmrs_ssl needs mmcv: {EXTRAS}',
            name='mmcv',
        )
    if len(recorded) > 1:
        warnings.warn(
            f'{" and ".join(recorded)} are both installed and have the same files: removing either breaks the other. '
            f'Keep one: {again}',
            stacklevel=3,
        )
    with warnings.catch_warnings():
        # mmcv-lite's own, on an operator that pre-training does not use
        warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
        import mmcv.cnn.bricks.transformer  # noqa: F401


def explain_missing(error: BaseException) -> str | None:
    """Name the line that brings a missing downstream library or mmcv's operators; None for other errors."""
    for found in _causes(error):
        if not isinstance(found, ModuleNotFoundError):
            continue
        name = found.name or str(found).partition(' is not installed')[0]  # mmengine's own of a config's base
        if name in DOWNSTREAM:
            what = "mmcv's operators are" if name == 'mmcv._ext' else f'{name} is'
            return (
                f'{what} not installed; pre-training needs none of the [downstream] extra, this config does. In a '
                'clone: make install. Elsewhere: pip uninstall -y mmcv-lite; then the lines for '
                "'mmrs_ssl[downstream]' of README's installation"
            )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Go through an error and those it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_recorded(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
