"""Read the damaged files of a folder by both data sets, and print what came of each: run in a process of its own."""

import gc
import json
import sys
from pathlib import Path

from mmrs_ssl.datasets import ImageFolder, SceneDataset


def outcome(read):
    """What was read, or the error's type and text."""
    try:
        return dict(read=read())
    except Exception as error:
        return dict(error=type(error).__name__, text=str(error), known=isinstance(error, ValueError))


def main(root):
    gc.freeze()  # mmengine collects garbage for every data set
    load = [dict(type='mmrs_ssl.LoadRaster', bands=None)]
    for folder in sorted(Path(root).iterdir()):

        def scene(folder=folder):
            data = SceneDataset(str(folder), load, window=32, sampling='grid', max_bad=0, cache_dir=f'{root}.cache')
            return sum(data[i]['img'].size for i in range(min(len(data), 50)))

        def image(folder=folder):
            return ImageFolder(str(folder), load, max_unreadable=0)[0]['img'].size

        print(
            json.dumps(dict(path=str(next(folder.iterdir())), scene=outcome(scene), image=outcome(image))), flush=True
        )


if __name__ == '__main__':
    main(sys.argv[1])
