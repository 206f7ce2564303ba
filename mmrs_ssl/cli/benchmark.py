"""Time a config, or count what its steps do."""

from argparse import Namespace

from mmrs_ssl.benchmarks.operators import count_operators
from mmrs_ssl.benchmarks.pipelines import time_data
from mmrs_ssl.benchmarks.steps import time_model
from mmrs_ssl.benchmarks.syncs import count_syncs
from mmrs_ssl.cli.config import read_config
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.ops.memory import keep_freed_memory


def benchmark_config(args: Namespace) -> None:
    """Time the model or the input pipeline, or count operators or waits, as the options say."""
    cfg = read_config(args)
    keep_freed_memory()
    if args.syncs:
        set_precision(cfg, args.amp)
        count_syncs(cfg, args)
        return
    measure = time_data if args.data else count_operators if args.operators else time_model
    measure(cfg, args)
