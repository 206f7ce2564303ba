"""Start training from a pre-trained backbone."""

import logging
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmpretrain.utils import get_ori_model
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmrs_ssl.aliases import accept_old_options
from mmrs_ssl.engine.band_order import Reading, readings
from mmrs_ssl.engine.normalization import (
    ADOPTED,
    MEND,
    Comparison,
    Pretrained,
    Row,
    compare_normalization,
    seen_in_pretraining,
    write_rows,
)
from mmrs_ssl.engine.preprocessors import preprocessors_of, set_normalization, write_to_config
from mmrs_ssl.engine.starting import load_start
from mmrs_ssl.options import FINITE, WHOLE, check_choice, check_lists, or_none, refuse
from mmrs_ssl.registry import HOOKS
from mmrs_ssl.transfer.adapt import POSITIONS, Bands
from mmrs_ssl.transfer.modalities import joint_modalities
from mmrs_ssl.transfer.report import LoadReport


@HOOKS.register_module()
@accept_old_options
class PretrainedBackboneHook(Hook):
    """Start training from a backbone, in a config of any OpenMMLab library, by two lines and no other change.

    ::

        custom_imports = dict(imports=['mmrs_ssl'], allow_failed_imports=False)
        custom_hooks = [dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint='FILE', normalization='adopt')]

    Weights that the config would download for the backbone are not. ``frozen_stages`` and ``norm_eval`` stay as the
    config has them, which a row of the table says; what is frozen has to be as it was pre-trained. Nothing is loaded in
    a run that goes on from a checkpoint, or evaluates one.

    A hook and not an ``init_cfg``: mmsegmentation's and mmdetection's Swin read ``init_cfg['checkpoint']`` themselves,
    and OpenMMLab's own ``Pretrained`` loads nothing, in silence, where no name fits.

    Args:
        checkpoint, branch, modality, bands: see :func:`mmrs_ssl.transfer.load_backbone`.
        module: where the backbone is in the model; ``'backbone'`` also for the Siamese models of open-cd.
        normalization: what is done with the mean, std and order of bands that the file records. ``'adopt'`` gives them
            to the model's data preprocessor, for training and evaluation, to the config in the work dir, and to every
            checkpoint, from which a later evaluation takes them. ``'check'`` refuses another number or order of bands,
            and statistics that are more than a factor of 3 off; less is a warning. ``'keep'`` says what differs and
            keeps the config's, for a pre-training that goes on with images of its own; only another order of the three
            colors is refused. ``'ignore'`` does not look. A file that records nothing is taken as it is.
    """

    priority = 'VERY_HIGH'  # before hooks that copy, average or look at the weights

    def __init__(
        self,
        checkpoint: str,
        module: str = 'backbone',
        branch: str | None = None,
        modality: str | None = None,
        bands: Bands = 'mean',
        normalization: str = 'check',
    ) -> None:
        check_choice('normalization', normalization, ('adopt', 'check', 'ignore', 'keep'))
        check_choice('branch', branch, ('student', 'teacher', None))
        for option, value in dict(checkpoint=checkpoint, module=module, modality=modality).items():
            if not isinstance(value, str | Path) and (value is not None or option != 'modality'):
                refuse(self, option, value, 'text')
        if bands != 'mean' and not (isinstance(bands, list | tuple) and all(map(or_none(WHOLE).fits, bands))):
            refuse(self, 'bands', bands, "'mean' or a list of numbers of bands, each a whole number or None")
        self.checkpoint = checkpoint
        self.module = module
        self.bands: Bands = bands
        self.options: dict[str, Any] = dict(branch=branch, modality=modality, bands=bands)
        self.normalization = normalization
        self.adopted: dict[str, Any] | None = None

    def before_run(self, runner: Any) -> None:
        """Take from the backbone what its initialization, which comes next, would load or download."""
        try:
            module = get_ori_model(runner.model).get_submodule(self.module)
        except AttributeError:  # training says so; an evaluation may wrap the model in another
            return
        for part in module.modules():
            if getattr(part, 'init_cfg', None):
                part.init_cfg = without_files(part.init_cfg)
            if isinstance(getattr(part, 'pretrained', None), str):
                part.pretrained = None

    def before_train(self, runner: Any) -> None:
        """Load the backbone, unless a run goes on; momentum encoders start from the same (see ``load_start``).

        Raises:
            AttributeError: if the model has no such module.
            ValueError: if ``load_from`` gives weights too; if the backbone does not fit, or images are not normalized
                as those of its pre-training; if a weight is frozen that the file does not have as the model needs it.
        """
        # runner._resume says what was asked for, and is true where --resume found nothing
        if runner.iter > 0 or (runner._resume and runner._has_loaded):
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
        report, rows = load_start(model, module, self.checkpoint, self.options)
        read = readings(runner.train_dataloader) + _planned(runner, 'val', 'test')
        result = self._compare(runner, seen_in_pretraining(report.record, self.bands), read, str(self.checkpoint))
        result.rows += [*rows, frozen_row(module, report, result)]
        self._report(result, str(self.checkpoint))

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Give a model that was trained with adopted statistics the same ones again.

        Raises:
            ValueError: if ``normalization='check'`` and the config has others, or if they are no statistics.
        """
        meta = checkpoint.get('meta')
        kept = meta.get(ADOPTED) if isinstance(meta, dict) else None
        if kept is None:
            return
        check_kept(kept)
        pretrained = Pretrained(
            mean=tuple(kept['mean']),
            std=tuple(kept['std']),
            order=kept['order'],
            bands=len(kept['mean']),
            swaps=kept['swaps'],
            by_position=kept.get('by_position'),
            named=kept.get('named', False),
        )
        result = self._compare(runner, pretrained, _planned(runner, 'train', 'val', 'test'), kept['source'])
        self._report(result, 'the checkpoint, of a model that was trained with adopted statistics')

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Write down what was adopted."""
        if self.adopted is not None:
            checkpoint.setdefault('meta', {})[ADOPTED] = self.adopted

    def _compare(self, runner: Any, pretrained: Pretrained, read: list[Reading], source: str) -> Comparison:
        model = get_ori_model(runner.model)
        if self.normalization == 'ignore':
            return Comparison(rows=[('normalization', 'not looked at', '', "normalization='ignore'")])
        bands = _bands_of(model, self.module) or pretrained.bands
        if bands is None:
            return Comparison(rows=[('normalization', 'not recorded', '', 'as the config says')])
        result = compare_normalization(model, bands, pretrained, read, adopt=self.normalization == 'adopt')
        if self.normalization == 'keep':
            keep_own(result)
        if (adopted := result.adopted) is not None:
            # averaged copies of the model, which hooks made before, may change places with it
            for copy in (getattr(hook, 'ema_model', None) for hook in runner.hooks):
                for each in preprocessors_of(copy) if isinstance(copy, nn.Module) else ():
                    set_normalization(each, adopted)
            images = len(adopted.mean) // bands
            mean, std = (list(values[: len(values) // images]) for values in (adopted.mean, adopted.std))
            told = {key: getattr(pretrained, key) for key in ('order', 'by_position', 'named')}
            self.adopted = dict(mean=mean, std=std, **told, swaps=adopted.swaps, source=source)
            if runner.cfg:
                write_to_config(runner.cfg, adopted, preprocessors_of(model)[0])
                runner.dump_config()
        return result

    def _report(self, result: Comparison, source: str) -> None:
        table = f'PretrainedBackboneHook, {source}:\n{write_rows(result.rows)}'
        if result.errors:
            raise ValueError('\n'.join([*result.errors, f'({MEND})', table]))
        level = logging.WARNING if result.differs else logging.INFO
        print_log(f'{table}\n({MEND})' if result.differs else table, logger='current', level=level)


def keep_own(result: Comparison) -> None:
    """Let the config's bands and statistics count whatever the file records; another order of colors is a mistake."""
    turned = any(row[0] == 'order of bands' and row[3] == 'refused' for row in result.rows)
    del result.errors[int(turned) :]  # that of the order comes first
    if turned:
        result.errors[0] += ', or take the kernels the other way round by bands=[2, 1, 0] of this hook, in the config'
    result.rows = [
        (*row[:3], 'as the config says') if row[3] in ('differs', 'refused') and row[0] != 'order of bands' else row
        for row in result.rows
    ]


def check_kept(kept: Any) -> None:
    """Refuse what a checkpoint holds as adopted statistics if it is none: it goes into the config of the work dir.

    Raises:
        ValueError: with the value and what was expected.
    """
    if not isinstance(kept, dict) or not {'mean', 'std', 'order', 'swaps', 'source'} <= kept.keys():
        raise ValueError(f'meta.{ADOPTED} of the checkpoint is {kept!r:.200}, expected what this hook writes there')
    check_lists(f'meta.{ADOPTED} of the checkpoint', FINITE, mean=kept['mean'], std=kept['std'])
    orders, switches = ('rgb', 'bgr', None), (True, False, None)
    for key, choices in dict(order=orders, by_position=orders, swaps=switches, named=switches).items():
        check_choice(f'meta.{ADOPTED}.{key} of the checkpoint', kept.get(key), choices)


def without_files(init_cfg: Any) -> Any:
    """Leave out of an ``init_cfg`` what loads a file; mmsegmentation's and mmdetection's Swin do it for any type."""
    if isinstance(init_cfg, list | tuple):
        return [each for each in init_cfg if 'checkpoint' not in each]
    return None if 'checkpoint' in init_cfg else init_cfg


def frozen_row(module: nn.Module, report: LoadReport, result: Comparison) -> Row:
    """Say what of a backbone does not train; weights that would stay as nobody trained them are an error.

    Positions of another number of patches are not: MAE and MSSDF never train them.
    """
    module.train()  # as training is about to do; some classes freeze only then
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and not part.training]
    said = f'{len(frozen)} of {len(list(module.parameters()))} weights'
    if norms:
        said += f', statistics of {len(norms)} BatchNorms'
    changed = sorted(frozen & {*report.fresh, *report.adapted} - {*POSITIONS})
    if changed:
        result.errors.append(
            f'{len(changed)} frozen weights are not as they were pre-trained and would stay so ({changed[0]}: '
            f'{report.adapted.get(changed[0], "fresh")}): set frozen_stages=-1 in model.backbone, or build the model '
            'like the one in the file'
        )
    outcome = 'refused' if changed else 'as the config says'
    return 'frozen', '', said if frozen or norms else 'nothing', outcome


def _bands_of(model: nn.Module, name: str) -> int | None:
    """Count the bands that a backbone's first convolution takes, or all of its modalities have."""
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return None
    if (joint := joint_modalities(module)) is not None:
        return sum(joint.bands.values())
    return next((part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)), None)


def _planned(runner: Any, *splits: str) -> list[Reading]:
    """Read the pipelines of these parts of the config."""
    return [reading for split in splits for reading in readings(runner.cfg.get(f'{split}_dataloader'))]
