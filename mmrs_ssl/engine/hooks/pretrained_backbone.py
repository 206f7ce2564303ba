"""Start training from a pre-trained backbone."""

from typing import Any

from mmengine.hooks import Hook
from mmpretrain.utils import get_ori_model

from mmrs_ssl.models.teachers.student_teacher import StudentTeacher
from mmrs_ssl.registry import HOOKS
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.adapt import Bands


@HOOKS.register_module()
class PretrainedBackboneHook(Hook):
    """Load a backbone before training, in a config of any OpenMMLab library.

    A hook and not an ``init_cfg``: mmsegmentation's and mmdetection's Swin read ``init_cfg['checkpoint']`` themselves,
    and OpenMMLab's own ``Pretrained`` loads nothing, in silence, where no name fits. It does nothing in a run that
    goes on from a checkpoint.

    Args:
        checkpoint, branch, modality, bands: see :func:`mmrs_ssl.transfer.load_backbone`.
        module: where the backbone is in the model; ``'backbone'`` also for the Siamese models of open-cd.
    """

    priority = 'VERY_HIGH'  # before hooks that copy, average or look at the weights

    def __init__(
        self,
        checkpoint: str,
        module: str = 'backbone',
        branch: str | None = None,
        modality: str | None = None,
        bands: Bands = 'mean',
    ) -> None:
        self.checkpoint = checkpoint
        self.module = module
        self.options: dict[str, Any] = dict(branch=branch, modality=modality, bands=bands)

    def before_train(self, runner: Any) -> None:
        """Load the backbone, unless a run goes on; a model with a teacher copies the student to it again.

        Raises:
            AttributeError: if the model has no such module.
            ValueError: if ``load_from`` gives weights too, or the backbone does not fit.
        """
        # runner._resume says what was asked for, and is true where --resume found nothing
        if runner.iter > 0:
            runner.logger.info(f'PretrainedBackboneHook: the run goes on at iteration {runner.iter}, nothing to load')
            return
        if runner._load_from is not None:
            raise ValueError(
                f'load_from={runner._load_from!r} and PretrainedBackboneHook({self.checkpoint!r}) both give weights: '
                'remove one'
            )
        model = get_ori_model(runner.model)
        try:
            module = model.get_submodule(self.module)
        except AttributeError as error:
            raise AttributeError(f'PretrainedBackboneHook: the model has no {self.module!r} ({error})') from error
        load_backbone(module, self.checkpoint, **self.options)
        if isinstance(model, StudentTeacher):
            model.teacher.copy_from(model.student_parts())
