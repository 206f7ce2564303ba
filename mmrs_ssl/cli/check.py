"""Check a config, its data and this machine before a training."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS

from mmrs_ssl.cli.checks.findings import Finding, print_findings
from mmrs_ssl.cli.checks.machine import Machine, check_device, check_precision, check_versions
from mmrs_ssl.cli.checks.planned import PlannedTraining
from mmrs_ssl.cli.checks.quick import look_at
from mmrs_ssl.cli.checks.step import check_step, measure_apart
from mmrs_ssl.cli.config import count_images, read_config
from mmrs_ssl.cli.errors import explain
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.cli.starting import model_settings
from mmrs_ssl.models.quiet import quiet


def run_check(args: Namespace) -> int:
    """Check as the command line says, and print the findings; returns the exit code, 1 if there are errors."""
    cfg = read_config(args)
    set_precision(cfg, args.amp)
    findings = check_config(cfg, args.devices, args.steps)
    print_findings(findings)
    return int(any(each.level == 'error' for each in findings))


def check_config(cfg: Config, devices: int = 1, steps: int = 0) -> list[Finding]:
    """Build what a config trains, and check it.

    Args:
        cfg: as the training would have it; the size of a head that follows the data set's is written into it.
        devices: how many processes will train.
        steps: real steps to be timed; 0 for none.
    """
    findings: list[Finding] = []
    dataset = _built(findings, 'data', lambda: indexed_data(cfg))
    if dataset is not None:
        count_images(cfg)
    model = _built(findings, 'model', lambda: MODELS.build(model_settings(cfg)))
    machine = Machine.here()
    if dataset is None or model is None:
        return [*findings, *check_versions(), *check_device(machine), *check_precision(cfg, machine)]
    planned = PlannedTraining(cfg, dataset, model, machine, devices)
    findings += look_at(planned)
    if steps and not any(each.level == 'error' for each in findings):
        findings += check_step(planned, measure_apart(cfg, steps, Path(cfg.work_dir, 'check')))
    return findings


def indexed_data(cfg: Config) -> Any:
    """Build the data set of a training, with its index."""
    dataset: Any = DATASETS.build(cfg.train_dataloader.dataset)
    len(dataset)  # without it, that of scenes would be made at the first sample
    return dataset


def _built(findings: list[Finding], about: str, build: Callable[[], Any]) -> Any:
    """Build a part; what goes wrong becomes a finding, and the part None."""
    try:
        with quiet():
            return build()
    except Exception as error:  # whatever is wrong with the config or the files
        findings.append(Finding('error', about, explain(error), 'something that can be built', 'see the message'))
        return None
