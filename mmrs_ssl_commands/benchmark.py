"""Time full training steps of a pre-training config, or its input pipeline.

Examples:
    $program CONFIG                   # the whole step against the bare compute, in one run
    $program CONFIG --amp             # and bfloat16 autocast against float32
    $program CONFIG --operators       # operator calls and memory of a step, for three batch sizes
    $program CONFIG --syncs           # where a training, hooks included, waits for the GPU
    $program CONFIG --data            # images per second and core of the input pipeline; for windows of
                                      # rasters also against bare rasterio, and their memory

The bare compute is what no implementation can leave out: a forward and backward pass of the student's backbone for
every view (for crops of several sizes: for every size) and a forward pass of the teacher's for those it sees,
channels-last. For MSSDF it is the transformer layers of encoder, teacher, fusion and decoders on random tokens of the
same shapes. Both are timed alternately and compared by their medians, so that a busy machine slows both.
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import add_config_arguments, whole


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    add_config_arguments(parser)
    parser.add_argument('--batch-size', type=whole(), default=8)
    parser.add_argument('--steps', type=whole(), default=8, help='timed steps, after two that warm up')
    parser.add_argument('--amp', action='store_true', help='also time mixed precision')
    parser.add_argument('--data', action='store_true', help='time the input pipeline instead of the model')
    parser.add_argument('--operators', action='store_true', help='count operators and memory instead of timing')
    parser.add_argument('--syncs', action='store_true', help='train --steps iterations, count what waits for the GPU')
    parser.add_argument('--images', help='what to read (default: generated 400 x 400 JPEGs, or one large GeoTIFF)')
    parser.add_argument('--side', type=whole(), default=30_000, help='pixels a side of the generated GeoTIFF')


def run(args: Namespace) -> None:
    """Time the model or the input pipeline, or count operators or waits, as the options say."""
    from mmrs_ssl.cli.benchmark import benchmark_config

    benchmark_config(args)
