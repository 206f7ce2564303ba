"""Pictures of what training sees."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmpretrain.utils import get_ori_model

from mmrs_ssl.registry import HOOKS
from mmrs_ssl.visualization.crops import dino_panel
from mmrs_ssl.visualization.modalities import mssdf_panel
from mmrs_ssl.visualization.panels import cmid_panel


@HOOKS.register_module()
class PictureHook(Hook):
    """Write a panel per sample every ``interval`` iterations.

    Of CMID it shows views, masked views, reconstructions and matched cells; of DINO-MC all crops and what the teacher
    chose for its own; of MSSDF modalities, their information and masks, and the teacher's and the predicted tokens.

    Panels go to ``<work dir of this run>/pictures/`` and to the visualiser's backends (TensorBoard and others). They
    show the training step itself; nothing is computed twice.

    Args:
        interval: iterations between two sets of pictures; the first iteration always makes one.
        samples: how many samples of the batch.
        bands: the three bands shown as red, green and blue, or one shown as gray; the first three (or the first) by
            default.
    """

    def __init__(self, interval: int = 500, samples: int = 4, bands: tuple[int, ...] | None = None) -> None:
        self.interval = interval
        self.samples = samples
        self.bands = bands

    @master_only
    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Ask the model to keep this step's tensors."""
        get_ori_model(runner.model).recording = runner.iter % self.interval == 0

    @master_only
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draw and write."""
        model = get_ori_model(runner.model)
        if not model.recording:
            return
        recorded, model.recorded, model.recording = model.recorded, {}, False
        if 'views' not in recorded:
            raise ValueError(
                f'PictureHook: {type(model).__name__} kept nothing to draw in model.recorded, as CMID, DINOMC and '
                'MSSDF do while model.recording is set: leave the hook out'
            )
        folder = Path(runner.log_dir) / 'pictures'
        folder.mkdir(parents=True, exist_ok=True)
        views = recorded['views']
        first = next(iter(views.values())) if isinstance(views, dict) else views[0]
        for i in range(min(self.samples, len(first))):
            panel = self.draw(recorded, i, model.data_preprocessor)
            path = folder / f'iter_{runner.iter + 1:07d}_sample_{i}.png'
            if not cv2.imwrite(str(path), cv2.cvtColor(panel, cv2.COLOR_RGB2BGR)):
                raise OSError(f'could not write {path}; is the disk full?')
            runner.visualizer.add_image(f'sample_{i}', panel, step=runner.iter + 1)

    def draw(self, recorded: dict[str, Any], sample: int, preprocessor: Any) -> np.ndarray:
        """The panel of one sample, (H, W, 3) uint8 RGB."""
        if isinstance(recorded['views'], dict):
            return mssdf_panel(recorded, sample, preprocessor)
        if 'choices' in recorded:
            return dino_panel(recorded, sample, preprocessor.mean, preprocessor.std, self.bands)
        return cmid_panel(recorded, sample, preprocessor.mean, preprocessor.std, self.bands)
