"""Move the teacher after the optimizer's step, and say in checkpoints which of both is to be used."""

from typing import Any

from mmengine.hooks import Hook
from mmpretrain.utils import get_ori_model

from mmrs_ssl.registry import HOOKS


@HOOKS.register_module()
class TeacherUpdateHook(Hook):
    """Call ``model.update_teacher()`` once per optimizer step, so not for every micro-batch of an accumulated step."""

    def before_train(self, runner: Any) -> None:
        """Tell the model that its teacher is updated; without that it refuses to train."""
        get_ori_model(runner.model).teacher_is_updated = True

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Update the teacher if this iteration ended with a step of the optimizer."""
        if runner.optim_wrapper.should_update():
            get_ori_model(runner.model).update_teacher()

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Write into the meta data whose backbone the method's authors evaluate, where the model's class says it."""
        if (evaluated := getattr(get_ori_model(runner.model), 'evaluated', None)) is not None:
            checkpoint['meta']['evaluated'] = evaluated
