"""The demo: generate scenes, pre-train on them without labels, compare with random weights.

Examples:
    $program
    $program dino_mc/dino-mc_resnet18_1xb32-coslr-16e_demo-64px --seed 1 --cfg-options batch=16

With several modalities (mssdf/...) pre-training sees pictures and surface heights; the comparison has pictures alone.
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import Settings, whole


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    cmid = 'cmid/cmid_resnet18_1xb32-coslr-22e_demo-64px'
    parser.add_argument('config', nargs='?', default=cmid, help='a demo config, by name (default: CMID)')
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument('--seed', type=whole(0), default=0, help='of the scenes, the weights and the training')
    parser.add_argument('--epochs', type=whole(), help="instead of the config's")
    parser.add_argument('--cfg-options', nargs='+', action=Settings, default={}, help='override settings')


def run(args: Namespace) -> None:
    """Run the demo and print its table."""
    from mmrs_ssl.cli.demo import show_demo

    show_demo(args)
