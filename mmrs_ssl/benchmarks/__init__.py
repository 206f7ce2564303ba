"""How long training steps and input pipelines take, and what they hold; run by ``tools/benchmark.py``."""
