"""Write generated scenes with boxes, in the folder layouts of DIOR and DOTA."""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

import numpy as np

from mmrs_ssl.synthetic.canvas import Array
from mmrs_ssl.synthetic.scene import SyntheticScene
from mmrs_ssl.synthetic.writing import NOTICE, WritingPlan, write_picture

_TRAFFIC = ('parking', 'junction', 'industrial', 'residential')


def _annotation(name: str, boxes: Sequence[tuple[str, Array]], size: int) -> ElementTree.ElementTree:
    """Make Pascal VOC's record of horizontal boxes, pixels counted from 1."""
    root = ElementTree.Element('annotation')

    def add(parent: ElementTree.Element, **texts: object) -> None:
        for tag, text in texts.items():
            ElementTree.SubElement(parent, tag).text = str(text)

    add(root, folder='DIOR', filename=name, segmented=0)
    add(ElementTree.SubElement(root, 'source'), database=NOTICE)
    add(ElementTree.SubElement(root, 'size'), width=size, height=size, depth=3)
    for category, polygon in boxes:
        thing = ElementTree.SubElement(root, 'object')
        add(thing, name=category, pose='Unspecified', truncated=0, difficult=0)
        left, top, right, bottom = np.rint(np.clip([*polygon.min(0), *polygon.max(0)], 0, size - 1)).astype(int) + 1
        add(ElementTree.SubElement(thing, 'bndbox'), xmin=left, ymin=top, xmax=right, ymax=bottom)
    return ElementTree.ElementTree(root)


def _objects(scene: SyntheticScene, names: Mapping[str, str]) -> list[tuple[str, Array]]:
    """Name the boxes as the data set does; only objects whose center is in the picture count."""
    side = len(scene.dsm) - 1
    inside = [(name, box) for name, box in scene.boxes if box.mean(0).min() >= 0 and box.mean(0).max() <= side]
    return [(names[name], box) for name, box in inside if name in names]


def write_dior(plan: WritingPlan) -> None:
    """Write DIOR's layout: JPEGs, and Pascal VOC records of horizontal boxes."""
    names = {'vehicle': 'vehicle', 'truck': 'vehicle', 'tank': 'storagetank'}
    folder, lists = plan.root / 'Annotations' / 'Horizontal Bounding Boxes', plan.root / 'ImageSets' / 'Main'
    folder.mkdir(parents=True, exist_ok=True)
    lists.mkdir(parents=True, exist_ok=True)
    members: dict[str, list[str]] = {'train': [], 'val': [], 'test': []}
    for split, index in plan.splits('train', 'val', 'test'):
        scene, stem = plan.scene(index, _TRAFFIC), f'{index + 1:05d}'
        write_picture(plan.root / f'JPEGImages-{"test" if split == "test" else "trainval"}/{stem}.jpg', scene.rgb())
        _annotation(f'{stem}.jpg', _objects(scene, names), plan.size).write(folder / f'{stem}.xml')
        members[split].append(stem)
    for split, stems in members.items():
        (lists / f'{split}.txt').write_text('\n'.join(stems) + '\n')


def write_dota(plan: WritingPlan) -> None:
    """Write DOTA's layout: PNGs, and text files of oriented boxes."""
    names = {'vehicle': 'small-vehicle', 'truck': 'large-vehicle', 'tank': 'storage-tank'}
    for split, index in plan.splits('train', 'val'):
        scene, stem = plan.scene(index, _TRAFFIC), f'P{index:04d}'
        write_picture(plan.root / split / 'images' / f'{stem}.png', scene.rgb())
        lines = ['imagesource:synthetic', f'gsd:{plan.gsd}']
        lines += [' '.join([*map('{:.1f}'.format, box.ravel()), name, '0']) for name, box in _objects(scene, names)]
        (plan.root / split / 'labelTxt').mkdir(exist_ok=True)
        (plan.root / split / 'labelTxt' / f'{stem}.txt').write_text('\n'.join(lines) + '\n')
