"""Measure training steps and input pipelines, for ``tools/benchmark.py`` and ``tools/gpu_check.py``."""
