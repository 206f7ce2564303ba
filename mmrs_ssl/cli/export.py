"""Write a backbone to a file of its own, and what to paste into a downstream config."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.targets import NAMES, remarks, target_of


def write_backbone(args: Namespace) -> None:
    """Export the backbone, and print what to paste into a downstream config."""
    if args.library and args.format in NAMES:
        raise ValueError(f'--for {args.library} has no meaning with --format {args.format}: leave one out')
    library = args.library or 'mmpretrain'
    meta = export_backbone(args.checkpoint, args.out, args.branch, args.modality, args.format, library)
    print(f'{args.out}: {Path(args.out).stat().st_size / 1e6:.1f} MB, the {meta["branch"]}, {meta["bands"]} bands.')
    if args.format in NAMES:
        print(
            f"A plain state dict in {args.format}'s names, without a head:\n\n"
            f'weights = torch.load({args.out!r}, weights_only=True)\n'
            'network.load_state_dict(weights, strict=False)  # only weights of the head may be missing\n'
            f'# pixels as in pre-training: {order_of(meta)}, then (pixel - mean) / std\n'
            f'mean = {meta["mean"]}\nstd = {meta["std"]}'
        )
    else:
        print(snippet(args.out, meta, library, args.format))
    for remark in remarks(meta['backbone'], args.format if args.format in NAMES else library):
        print(f'# Note: {remark}.')


def snippet(out: str, meta: dict[str, Any], library: str, file_format: str) -> str:
    """Write what to paste into a config of a library."""
    target = target_of(library, meta['backbone'], meta['bands'])
    settings, lines = dict(target.settings), []
    if file_format == 'openmmlab':
        settings['init_cfg'] = target.init_cfg(out)
    else:
        lines.append('# OpenMMLab does not read safetensors by itself, mmrs_ssl does')
        lines.append(f"custom_hooks = [dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint={out!r})]")
    imports = []
    if file_format == 'safetensors':
        imports.append('mmrs_ssl')
    if library != 'mmpretrain' and not target.own:
        imports.append('mmpretrain.models')
    if imports:
        lines.append(f'custom_imports = dict(imports={imports}, allow_failed_imports=False)')
    arguments = ''.join(f'    {key}={value!r},\n' for key, value in settings.items())
    why = f' ({target.note})' if target.note else ''
    normalize = normalization(meta['bands'], library, meta['channel_order'])
    changes = ['backbone=dict(_delete_=True, **backbone)']
    if library in ('mmseg', 'opencd'):
        changes.insert(0, 'pretrained=None')  # their bases name weights there
    # mmpretrain's bases have it beside the model, with the number of classes
    beside = library == 'mmpretrain' or normalize.startswith('#')
    if not beside:
        changes.append('data_preprocessor=data_preprocessor')
    return '\n'.join(
        [
            f"The class is type='{settings['type']}'{why}. Below the _base_ of a downstream config:\n",
            *lines,
            f'backbone = dict(\n{arguments})',
            f'# pixels as in pre-training: {order_of(meta)}, then (pixel - mean) / std',
            f'mean = {meta["mean"]}\nstd = {meta["std"]}',
            normalize,
            "# in place of the base's own, and of its weights",
            f'model = dict({", ".join(changes)})',
        ]
    )


def order_of(meta: dict[str, Any]) -> str:
    """Say in which order the backbone saw its bands."""
    if meta['channel_order'] == 'bgr':
        return 'blue, green, red'
    if meta['channel_order'] == 'rgb':
        return 'red, green, blue'
    bands = (meta['loader'] or {}).get('bands')
    return f'bands {bands} of the files' if isinstance(bands, list) else 'bands in the order of the files'


def normalization(bands: int, library: str, order: str | None) -> str:
    """Write the config line that normalizes what a library loads: colors as BGR, other bands as they are."""
    if library == 'mmdet' and bands not in (1, 3):
        return "# mmdet's DetDataPreprocessor takes 1 or 3 bands: normalize these in a transform of the pipeline"
    swap = f'{"to_rgb" if library == "mmpretrain" else "bgr_to_rgb"}={bands == 3 and order != "bgr"}'
    if library == 'opencd':  # its images are the two dates, one after the other
        return f'data_preprocessor = dict(mean=mean * 2, std=std * 2, {swap})'
    return f'data_preprocessor = dict(mean=mean, std=std, {swap})'
