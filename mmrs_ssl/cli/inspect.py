"""Print what a checkpoint is."""

from argparse import Namespace

from mmrs_ssl.transfer.inspect import count_by_prefix, inspect_checkpoint


def describe_checkpoint(args: Namespace) -> None:
    """Print what a checkpoint is, and the lines that load it."""
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
