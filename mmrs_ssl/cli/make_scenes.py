"""Write generated scenes in the layouts that a command line names."""

from __future__ import annotations

import sys
from argparse import Namespace

from mmrs_ssl.synthetic.layouts import LAYOUTS, write_layout


def write_layouts(args: Namespace) -> int:
    """Write them; returns the exit code, 2 for a wrong request."""
    names = list(LAYOUTS) if 'all' in args.layout else list(dict.fromkeys(args.layout))
    try:
        if unknown := [name for name in names if name not in LAYOUTS]:
            raise ValueError(f'unknown layout {unknown[0]!r}, expected all or any of: {", ".join(LAYOUTS)}')
        if args.out.exists() and not args.out.is_dir():
            raise ValueError(f'{args.out} is a file, expected a folder')
        if args.out.exists() and any(args.out.iterdir()) and not args.overwrite:
            raise ValueError(f'{args.out} is not empty; choose another folder or add --overwrite')
        print('Writing synthetic scenes: generated, not photographs.')
        for number, name in enumerate(names, 1):
            root = args.out / name if len(names) > 1 else args.out
            print(f'[{number}/{len(names)}] {name} ...', end=' ', flush=True)
            files = write_layout(name, root, args.scenes, args.size, args.seed, args.gsd, args.bands)
            print(f'{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB in {root}')
    except (ValueError, OSError) as error:
        print(f'{args.called}: {error}', file=sys.stderr)
        return 2
    return 0
