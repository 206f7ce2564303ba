"""Write synthetic scenes in the folder layout of a data set.

    python tools/make_scenes.py OUT --layout potsdam levir_cd
    python tools/make_scenes.py OUT --layout geotiff --scenes 8 --size 1024 --gsd 0.3 --bands 4

With one layout OUT becomes the data set's folder, with several each gets a folder of its name in it. The contents are
generated, never photographs: good for trying a config or a pipeline, not for judging a model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmrs_ssl.synthetic.layouts import LAYOUTS, write_layout


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument(
        '--layout', nargs='+', default=['folder'], metavar='NAME', help=f'all, or any of: {", ".join(LAYOUTS)}'
    )
    parser.add_argument('--scenes', type=int, help="number of scenes (default: the layout's)")
    parser.add_argument('--size', type=int, help="pixels a side (default: the layout's)")
    parser.add_argument('--gsd', type=float, help="metres per pixel (default: the layout's)")
    parser.add_argument(
        '--bands', type=int, default=6, help='bands of the layouts geotiff and time_series (default: 6)'
    )
    parser.add_argument('--seed', type=int, default=0, help='another seed, other scenes (default: 0)')
    parser.add_argument('--overwrite', action='store_true', help='write into a folder that is not empty')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 for a wrong request."""
    args = parse_args(argv)
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
        print(f'make_scenes.py: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
