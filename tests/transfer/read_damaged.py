"""Read the damaged checkpoints of a folder, and print what came of each: run in a process of its own."""

import json
import sys
from pathlib import Path

from mmrs_ssl.transfer.sources import read_file


def main(root):
    for path in sorted(Path(root).glob('*/*')):
        try:
            content = read_file(path)
            found = dict(read=type(content).__name__)
        except Exception as error:
            found = dict(error=type(error).__name__, text=str(error), known=isinstance(error, ValueError))
        print(json.dumps(dict(path=str(path), **found)), flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
