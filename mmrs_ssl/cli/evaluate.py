"""Say what backbones are worth on labelled images, beside what no training is worth."""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_rank, init_dist, is_main_process
from torch import Tensor

from mmrs_ssl.datasets.transforms.loading import LoadRaster
from mmrs_ssl.engine.distributed import start_gloo
from mmrs_ssl.evaluation.features import SquareImages, features_of, pixel_batches
from mmrs_ssl.evaluation.floors import histograms_of, standardized, statistics_of_bands
from mmrs_ssl.evaluation.frozen import FrozenBackbone, open_backbone, recalibrate
from mmrs_ssl.evaluation.intervals import Figure
from mmrs_ssl.evaluation.knn import most_alike
from mmrs_ssl.evaluation.labelled import Labelled, check_learnable, halves, read_labelled, same_files
from mmrs_ssl.evaluation.measuring import NEIGHBORS, measure_features, names_of_measures, predict
from mmrs_ssl.evaluation.probes import check_features, holds_back
from mmrs_ssl.evaluation.results import ResultFile, digest_of_data, digest_of_file, distinct_names, table_of
from mmrs_ssl.evaluation.torchgeo_bench import export_torchgeo_bench
from mmrs_ssl.rasters.access import Access, access_to
from mmrs_ssl.transfer.records import read_record
from mmrs_ssl.transfer.sources import read_file
from mmrs_ssl.visualization.evaluation import as_picture, draw_confusion, draw_neighbors

Encoder = Callable[[Tensor], Tensor]
PROTOCOL = 2  # figures of another one are measured again; 1 was before images counted by what is in them
QUERIES, SHOWN = 8, 6  # rows and neighbors of the gallery


def image_reader(options: Mapping[str, Any], access: Access) -> Callable[[str], np.ndarray]:
    """Make a function that reads an image (H, W, C) by these options of LoadRaster."""
    transform = LoadRaster(**options)

    def load(path: str) -> np.ndarray:
        return np.asarray(transform.transform(dict(img_path=path, access=access))['img'])

    return load


@dataclass(frozen=True)
class Subject:
    """What is measured: features of the labelled and of the test images.

    Args:
        name: in the table.
        key: what the figures depend on.
        compute: makes both arrays, (N, D) and (M, D).
    """

    name: str
    key: dict[str, Any]
    compute: Callable[[], tuple[np.ndarray, np.ndarray]]


class Evaluation:
    """Labelled images in two halves, and how they are read.

    Args:
        labelled, held_out: the halves.
        args: of the command line.
    """

    def __init__(self, labelled: Labelled, held_out: Labelled, args: argparse.Namespace) -> None:
        check_learnable(labelled)
        self.labelled, self.held_out, self.args = labelled, held_out, args
        self.data = digest_of_data(labelled, held_out)
        self.access = access_to([str(Path(path).parent) for path in {*labelled.paths, *held_out.paths}])

    def loader(self, options: Mapping[str, Any]) -> Callable[[str], np.ndarray]:
        """Make a function that reads an image (H, W, C) by these options of LoadRaster."""
        return image_reader(options, self.access)

    def images(self, options: Mapping[str, Any], size: int) -> tuple[SquareImages, SquareImages]:
        """Make the data sets of both halves."""
        load = self.loader(options)
        return SquareImages(self.labelled.paths, load, size), SquareImages(self.held_out.paths, load, size)

    def features(
        self, encoder: Encoder, options: Mapping[str, Any], size: int, device: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the features of both halves; every process must call this."""
        settings = dict(batch_size=self.args.batch_size, workers=self.args.workers, device=device)
        bf16 = self.args.bf16 and isinstance(encoder, FrozenBackbone)
        train, test = (features_of(encoder, part, **settings, bf16=bf16) for part in self.images(options, size))
        return train, test

    def measured(self, subject: Subject, file: ResultFile | None, names: Sequence[str]) -> dict[str, Figure]:
        """Measure a subject, or take from the file what is in it; of several processes the first one has figures."""
        key = dict(subject.key, data=self.data, seed=self.args.seed, labels=len(self.labelled.paths), protocol=PROTOCOL)
        shared = [file.known(key) if file and is_main_process() else {}]
        broadcast_object_list(shared)  # the first one's: another may read the file when it has grown
        known = shared[0]
        if set(names) <= known.keys():
            return {name: known[name] for name in names}
        train, test = subject.compute()
        if not is_main_process():
            return {}
        for features, part in ((train, self.labelled), (test, self.held_out)):
            check_features(features, of=subject.name, paths=part.paths)
        figures = measure_features(train, test, self.labelled, self.held_out, names, self.args.seed)
        if file:
            images = len(self.held_out.paths)
            file.add(
                dict(features=subject.name, measure=name, **figure._asdict(), test=images, **key)
                for name, figure in figures.items()
                if name not in known
            )
        return figures


def read_options(args: argparse.Namespace) -> Evaluation:
    """Read the labelled images that the command line names, and split them."""
    data = read_labelled(args.data, args.root)
    if args.test is None:
        return Evaluation(*halves(data, args.seed), args)
    test = read_labelled(args.test, args.root)
    several = ('one label an image', 'several labels an image')
    if test.labels.ndim != data.labels.ndim:
        raise ValueError(
            f'--test has {several[test.labels.ndim - 1]}, --data {several[data.labels.ndim - 1]}; expected the same'
        )
    if test.classes != data.classes:
        raise ValueError(f'--test has the classes {test.classes}, --data {data.classes}; expected the same')
    if both := same_files(test.paths, data.paths):
        raise ValueError(f'{both[0][0]} of --test is the same image as {both[0][1]}, which is among the labelled ones')
    return Evaluation(data, test, args)


def open_checkpoint(checkpoint: str, args: argparse.Namespace) -> tuple[FrozenBackbone, dict[str, Any]]:
    """Open a checkpoint's backbone; returns it with the options by which its pixels are read."""
    settings = Config.fromfile(args.config).model.backbone if args.config else None
    if args.stage is not None:
        given = settings or read_record(read_file(Path(checkpoint)), args.modality).backbone
        settings = {**given, 'out_indices': (args.stage,)} if given else None
    if (args.mean is None) != (args.std is None):
        raise ValueError('give both --mean and --std, or neither')
    statistics = (args.mean, args.std) if args.mean else None
    options = args.branch, args.modality, args.size, statistics, args.vector
    frozen = open_backbone(checkpoint, settings, *options)
    loader = dict(read_record(read_file(Path(checkpoint)), args.modality).loader or {})
    if args.bands is not None:
        loader['bands'] = args.bands
    elif not isinstance(loader.get('bands'), list):
        loader['bands'] = frozen.bands
    if args.convert:
        loader['convert'] = args.convert
    return frozen, loader


def subjects_of(checkpoints: Sequence[str], evaluation: Evaluation, device: str) -> Iterator[Subject]:
    """List what is measured: image statistics, random weights of each network, then the checkpoints."""
    opened = [(checkpoint, *open_checkpoint(checkpoint, evaluation.args)) for checkpoint in checkpoints]
    seen: set[str] = set()
    names: set[str] = set()

    def named(subject: Subject, checkpoint: str) -> Subject:
        """Tell floors of one name apart, of networks or pixels that differ, by the checkpoint that they belong to."""
        name = f'{subject.name} (of {checkpoint})' if subject.name in names else subject.name
        names.add(name)
        return replace(subject, name=name)

    for checkpoint, frozen, loader in opened:
        text = json.dumps([frozen.size, loader], sort_keys=True)
        if text not in seen:
            seen.add(text)
            yield from (named(each, checkpoint) for each in statistics_subjects(evaluation, frozen, loader))
    for checkpoint, frozen, loader in opened:
        own = key_of(frozen, loader, evaluation.args.bf16)
        if (text := json.dumps(own, sort_keys=True)) not in seen:
            seen.add(text)
            yield from (named(each, checkpoint) for each in random_subjects(evaluation, frozen, loader, device))
    for checkpoint, frozen, loader in opened:
        describe(checkpoint, evaluation, frozen, loader)
        key = key_of(frozen, loader, evaluation.args.bf16)
        key |= dict(weights=digest_of_file(checkpoint), branch=evaluation.args.branch)
        compute = partial(evaluation.features, frozen.to(device), loader, frozen.size, device)
        yield Subject(checkpoint, key, compute)


def key_of(frozen: FrozenBackbone, loader: Mapping[str, Any], bf16: bool) -> dict[str, Any]:
    """Return what the features of a network depend on, beside its weights; plain values."""
    return dict(
        network=json.dumps(frozen.settings, sort_keys=True, default=str),
        size=frozen.size,
        vector=frozen.vector,
        mean=str(frozen.mean.flatten().tolist()),
        std=str(frozen.std.flatten().tolist()),
        pixels=json.dumps(dict(loader), sort_keys=True),
        bf16=bf16,
    )


def statistics_subjects(evaluation: Evaluation, frozen: FrozenBackbone, loader: Mapping[str, Any]) -> Iterator[Subject]:
    """List the floors that are statistics of the images: of all bands, and colors of 8-bit RGB."""
    key = dict(size=frozen.size, pixels=json.dumps(dict(loader), sort_keys=True))

    def bands() -> tuple[np.ndarray, np.ndarray]:
        return standardized(*evaluation.features(statistics_of_bands, loader, frozen.size, 'cpu'))

    def colors() -> tuple[np.ndarray, np.ndarray]:
        return evaluation.features(histograms_of, loader, frozen.size, 'cpu')

    first = evaluation.loader(loader)(evaluation.labelled.paths[0])
    if first.dtype == np.uint8 and first.shape[2] == 3:
        yield Subject('color histogram', dict(key, weights='color histogram'), colors)
    yield Subject('band statistics', dict(key, weights='band statistics'), bands)


def random_subjects(
    evaluation: Evaluation, frozen: FrozenBackbone, loader: Mapping[str, Any], device: str
) -> Iterator[Subject]:
    """List the floors that are random weights: as they are initialized, and with BatchNorm's statistics measured."""
    name = str(frozen.settings['type']).rsplit('.', 1)[-1]
    twin = frozen.with_random_weights().to(device)
    compute = partial(evaluation.features, twin, loader, frozen.size, device)
    key = key_of(frozen, loader, evaluation.args.bf16)
    yield Subject(f'random {name}', dict(key, weights='random'), compute)
    if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in twin.modules()):

        def recalibrated() -> tuple[np.ndarray, np.ndarray]:
            labelled, _ = evaluation.images(loader, frozen.size)
            batches = pixel_batches(labelled, max(2, evaluation.args.batch_size), evaluation.args.workers, shared=False)
            recalibrate(twin, (pixels.to(device) for pixels in batches))
            return compute()

        yield Subject(f'random {name}, BatchNorm measured', dict(key, weights='random, recalibrated'), recalibrated)


def describe(checkpoint: str, evaluation: Evaluation, frozen: FrozenBackbone, loader: Mapping[str, Any]) -> None:
    """Print how a checkpoint is measured, and whether its normalization fits these images."""
    if get_rank():
        return
    images, _ = evaluation.images(loader, frozen.size)
    pixels = torch.stack([images[number] for number in np.linspace(0, len(images) - 1, 32).astype(int)])
    normal = frozen.normalized(pixels)
    fit = f'{float(normal.mean()):.2f} +- {float(normal.std()):.2f}'
    print(
        f'{checkpoint}: {frozen.settings["type"]}, {frozen.vector} vector, {frozen.size} pixels, '
        f'LoadRaster({", ".join(f"{name}={value!r}" for name, value in loader.items())}), '
        f'mean {frozen.mean.flatten().tolist()}, std {frozen.std.flatten().tolist()}; normalized pixels are {fit}'
    )
    if abs(float(normal.mean())) > 2 or not 0.1 < float(normal.std()) < 5:
        print('  warning: pixels are far from what was pre-trained on; look at --mean, --std, --bands and --convert')


def draw_pictures(subject: Subject, evaluation: Evaluation, start: Path, loader: Mapping[str, Any]) -> None:
    """Write the confusion matrix of the linear probe, and a gallery of nearest neighbors, by names with this start."""
    train, test = subject.compute()
    labelled, held_out = evaluation.labelled, evaluation.held_out
    if not is_main_process() or labelled.labels.ndim == 2:
        return
    predicted = predict('linear', train, labelled.labels, test, evaluation.args.seed)[0]
    title = f'{start.name}: linear probe, {100 * np.mean(predicted == held_out.labels):.1f} %'
    draw_confusion(held_out.labels, predicted, labelled.classes, start.with_name(f'{start.name}_confusion.png'), title)
    rng = np.random.default_rng(evaluation.args.seed)
    chosen = rng.choice(len(test), min(QUERIES, len(test)), replace=False)
    load = evaluation.loader(loader)
    draw_neighbors(
        [(held_out.paths[each], labelled.classes[held_out.labels[each]]) for each in chosen],
        [
            [
                (labelled.paths[each], labelled.classes[labelled.labels[each]], float(alike))
                for alike, each in zip(*row, strict=True)
            ]
            for row in zip(*most_alike(train, test[chosen], SHOWN), strict=True)
        ],
        lambda path: as_picture(load(path)),
        start.with_name(f'{start.name}_neighbors.png'),
    )


def tell_left_out(labelled: Labelled, few: Sequence[int], names: Sequence[str]) -> None:
    """Print which measures are left out, because there are fewer images, or do not mean all that they say."""
    if not is_main_process():
        return
    for count in NEIGHBORS:
        if f'{count}-NN' not in names:
            print(f'{count}-NN: left out, there are {len(labelled.paths)} labelled images')
    if not holds_back(labelled.labels):
        print('linear: C is 1, too few classes have the four labelled images that choosing it needs')
    if labelled.labels.ndim == 2:
        return
    counts = np.bincount(labelled.labels)
    least = f'class {labelled.classes[counts.argmin()]!r} has {counts.min()} labelled images'
    for count in few:
        if f'linear, {count} a class' not in names:
            print(f'linear, {count} a class: left out, {least}')


def evaluate(args: argparse.Namespace) -> dict[str, dict[str, Figure]]:
    """Measure all checkpoints and floors, and print the table; returns the figures by name and measure."""
    evaluation = read_options(args)
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    file = ResultFile(args.out) if args.out else None
    names = names_of_measures(evaluation.labelled.labels, args.few)
    tell_left_out(evaluation.labelled, args.few, names)
    if evaluation.held_out.labels.ndim == 2 and is_main_process():
        for name, count in zip(evaluation.held_out.classes, evaluation.held_out.labels.sum(axis=0), strict=True):
            if not count:
                print(f'label {name!r}: not counted, no test image has it')
    found = {}
    for subject in subjects_of(args.checkpoints, evaluation, device):
        if subject.name in found:
            raise ValueError(f'two rows of the table would be called {subject.name!r}: name each checkpoint once')
        found[subject.name] = evaluation.measured(subject, file, names)
        if args.pictures and subject.name in args.checkpoints:
            loader = json.loads(subject.key['pixels'])
            start = Path(args.pictures, distinct_names(args.checkpoints, 2)[subject.name])
            draw_pictures(subject, evaluation, start, loader)
    if is_main_process():
        several = evaluation.labelled.labels.ndim == 2
        print(
            f'\n{args.data}: {len(evaluation.labelled.paths)} labelled images, {len(evaluation.held_out.paths)} test '
            f'images (seed {args.seed}), {len(evaluation.labelled.classes)} {"labels" if several else "classes"}; '
            f'{"mean average precision" if several else "accuracy"} in % with its 95 % interval\n'
        )
        print(table_of(found, names))
    return found


def evaluate_or_export(args: argparse.Namespace) -> None:
    """Measure checkpoints on one or several processes, or write them for torchgeo-bench."""
    if args.export_torchgeo_bench:
        _export(args)
    if args.data is None:
        return
    if int(os.environ.get('WORLD_SIZE', 1)) > 1:
        if args.device == 'cpu':
            start_gloo()
        else:
            init_dist('pytorch')
    evaluate(args)


def _export(args: argparse.Namespace) -> None:
    """Write each checkpoint for torchgeo-bench, several to folders of their names."""
    for checkpoint, name in distinct_names(args.checkpoints, 1).items():
        out = Path(args.export_torchgeo_bench, name if len(args.checkpoints) > 1 else '')
        for file in export_torchgeo_bench(checkpoint, out, args.branch, args.modality):
            print(file)
