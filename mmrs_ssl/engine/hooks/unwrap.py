"""Reach the model behind a data-parallel wrapper."""

from typing import Any

from mmengine.model import is_model_wrapper


def bare_model(runner: Any) -> Any:
    """The runner's model itself, whatever wraps it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
