"""Time full training steps of a pre-training config, or its input pipeline.

    python tools/benchmark.py CONFIG                   # the whole step against the bare compute, in one run
    python tools/benchmark.py CONFIG --amp             # and bfloat16 autocast against float32
    python tools/benchmark.py CONFIG --operators       # operator calls and memory of a step, for three batch sizes
    python tools/benchmark.py CONFIG --syncs           # where a training, hooks included, waits for the GPU
    python tools/benchmark.py CONFIG --data            # images per second and core of the input pipeline; for windows
                                                       # of rasters also against bare rasterio, and their memory

The bare compute is what no implementation can leave out: a forward and backward pass of the student's backbone for
every view (for crops of several sizes: for every size) and a forward pass of the teacher's for those it sees,
channels-last. For MSSDF it is the transformer layers of encoder, teacher, fusion and decoders on random tokens of the
same shapes. Both are timed alternately and compared by their medians, so that a busy machine slows both.
"""

import argparse

import mmrs_ssl  # noqa: F401  (registers its modules)
from mmrs_ssl.benchmarks.operators import count_operators
from mmrs_ssl.benchmarks.pipelines import time_data
from mmrs_ssl.benchmarks.steps import time_model
from mmrs_ssl.benchmarks.syncs import count_syncs
from mmrs_ssl.cli.config import add_config_arguments, read_config
from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.ops.memory import keep_freed_memory


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--steps', type=int, default=8, help='timed steps, after two that warm up')
    parser.add_argument('--amp', action='store_true', help='also time mixed precision')
    parser.add_argument('--data', action='store_true', help='time the input pipeline instead of the model')
    parser.add_argument('--operators', action='store_true', help='count operators and memory instead of timing')
    parser.add_argument('--syncs', action='store_true', help='train --steps iterations, count what waits for the GPU')
    parser.add_argument('--images', help='what to read (default: generated 400 x 400 JPEGs, or one large GeoTIFF)')
    parser.add_argument('--side', type=int, default=30_000, help='pixels a side of the generated GeoTIFF')
    return parser.parse_args()


def main() -> None:
    """Time the model or the input pipeline, or count operators or waits, as the options say."""
    args = parse_args()
    cfg = read_config(args)
    keep_freed_memory()
    if args.syncs:
        set_precision(cfg, args.amp)
        count_syncs(cfg, args)
        return
    measure = time_data if args.data else count_operators if args.operators else time_model
    measure(cfg, args)


if __name__ == '__main__':
    with clear_errors():
        main()
