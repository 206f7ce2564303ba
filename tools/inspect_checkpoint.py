"""Say what a checkpoint is: who wrote it, which backbone and bands it has, and how to load it.

python tools/inspect_checkpoint.py FILE
"""

import argparse

from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.transfer.inspect import count_by_prefix, inspect_checkpoint


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='a .pth or .safetensors file; nothing in it is run')
    parser.add_argument(
        '--branch',
        choices=['student', 'teacher'],
        help="default: the one that the method's authors evaluate (CMID: student)",
    )
    return parser.parse_args()


def main() -> None:
    """Print what a checkpoint is, and the lines that load it."""
    args = parse_args()
    found = inspect_checkpoint(args.checkpoint, args.branch)
    # a branch has to be named where there are two
    options = f', branch={found.branch!r}' if len(found.branches) > 1 else ''
    rows = {
        'format': found.file_format,
        'program': found.program,
        'branches': ', '.join(found.branches) + (f' (here: the {found.branch})' if found.branch else ''),
        'layout': found.layout,
        'prefix': repr(found.prefix) + (f' in {found.entry!r}' if found.entry else ''),
        **({'beside': f'another backbone in {found.beside}'} if found.beside else {}),
        'backbone': f'{found.tensors} tensors, {found.parameters} parameters ({found.parameters / 1e6:.1f} M)',
        'bands': 'no first convolution found' if found.bands is None else found.bands,
        **found.meta,
        'others': count_by_prefix(found.others) or 'nothing',
    }
    print('\n'.join([args.checkpoint, *(f'  {name:9} {value}' for name, value in rows.items())]))
    print(
        f'to use it: mmrs_ssl.transfer.load_backbone(model.backbone, {args.checkpoint!r}{options})\n'
        f"in a config: custom_hooks = [dict(type='mmrs_ssl.PretrainedBackboneHook', "
        f'checkpoint={args.checkpoint!r}{options})]'
    )


if __name__ == '__main__':
    with clear_errors():
        main()
