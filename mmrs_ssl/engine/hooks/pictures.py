"""Write pictures of what training sees."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmpretrain.utils import get_ori_model

from mmrs_ssl.band_names import colors_of
from mmrs_ssl.models.protocol import Visualizes
from mmrs_ssl.models.tiles import Picture, pictures_of_passes
from mmrs_ssl.models.watch import BackboneWatch
from mmrs_ssl.options import COUNT, WHOLE, check_lists, check_numbers
from mmrs_ssl.registry import HOOKS
from mmrs_ssl.visualization.pictures import draw


@HOOKS.register_module()
class PictureHook(Hook):
    """Write a panel per sample every ``interval`` iterations.

    A method says what there is to see (``visualize``, see :mod:`mmrs_ssl.models.protocol`). CMID shows views, masked
    views, reconstructions and matched cells; DINO-MC all crops and what the teacher chose for its own; MSSDF
    modalities, their information and masks, and the teacher's and the predicted tokens. Of a method that does not say
    it the images are shown that its ``backbone`` was given.

    Panels go to ``<work dir of this run>/pictures/`` and to the visualiser's backends (TensorBoard and others). They
    show the training step itself; nothing is computed twice.

    Args:
        interval: iterations between two sets of pictures; the first iteration always makes one.
        samples: how many samples of the batch.
        bands: the three bands shown as red, green and blue, or one shown as gray, of all images that have them.
            Default: those that the data set's ``band_names`` call so, else the first three (or the first) and a title
            that says so.
    """

    def __init__(self, interval: int = 500, samples: int = 4, bands: tuple[int, ...] | None = None) -> None:
        check_numbers(self, COUNT, interval=interval, samples=samples)
        if bands is not None:
            check_lists(self, WHOLE, bands=bands)
        self.interval = interval
        self.samples = samples
        self.bands = bands
        self._watch: BackboneWatch | None = None

    @master_only
    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Ask the method to keep this step's tensors if it is to be drawn, or watch its backbone."""
        if runner.iter % self.interval:
            return
        model = get_ori_model(runner.model)
        if isinstance(model, Visualizes):
            model.recording = True
        else:
            self._watch = BackboneWatch(model, type(self).__name__, lambda seen: seen.image.detach())
            self._watch.start()

    @master_only
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draw the panels if it is time, write them to the work dir and pass them to the visualizer."""
        if runner.iter % self.interval:
            return
        folder = Path(runner.log_dir) / 'pictures'
        folder.mkdir(parents=True, exist_ok=True)
        colors = colors_of(band_names_of(runner.train_dataloader.dataset))
        for name, picture in self.pictures(get_ori_model(runner.model)).items():
            panel = draw(picture, self.bands, colors)
            path = folder / f'iter_{runner.iter + 1:07d}_{name}.png'
            if not cv2.imwrite(str(path), cv2.cvtColor(panel, cv2.COLOR_RGB2BGR)):
                raise OSError(f'could not write {path}; is the disk full?')
            runner.visualizer.add_image(name, panel, step=runner.iter + 1)

    def pictures(self, model: Any) -> dict[str, Picture]:
        """Return what there is to see of the last step, by name."""
        if self._watch is None:
            return model.visualize(self.samples)
        watch, self._watch = self._watch, None
        watch.stop()
        return pictures_of_passes(watch.collect(), model.data_preprocessor, self.samples)


def band_names_of(dataset: Any) -> list[Sequence[str]]:
    """List the names of the bands of each modality that a data set offers, or those that it is put together of."""
    if hasattr(dataset, 'band_names'):
        return list(dataset.band_names.values())
    inside = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    return [names for each in inside if each is not None for names in band_names_of(each)]
