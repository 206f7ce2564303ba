"""What is exported for torchgeo-bench, run as that program runs it, beside mmpretrain's backbones."""

import ast
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from mmengine.fileio import load

from mmrs_ssl.evaluation.torchgeo_bench import _imported, export_torchgeo_bench
from mmrs_ssl.evaluation.torchgeo_model import canonical
from mmrs_ssl.models.backbones.pooling import pooled
from tests.transfer.backbones import mine
from tests.transfer.checkpoints import training

# Of each family a network that torchvision has; mmrs_ssl's own Swin is torchvision's on maps of all sizes.
SIZES = dict(
    resnet=dict(stem_channels=64, base_channels=64),
    swin=dict(type='mmrs_ssl.PaddedSwinTransformer', pad_small_map=False),
    vit={},
    convnext={},
)


@dataclass(frozen=True)
class Band:
    """As torchgeo-bench describes a band."""

    sensor: str
    name: str
    source_name: str
    mean: float
    std: float
    min: float
    max: float
    wavelength_um: float | None = None


def bands_of(*names, top=255.0):
    return [Band('s2', name, name, 60.0 + i, 20.0 + i, 0.0, top) for i, name in enumerate(names)]


def instantiated(files, bands, normalization, **changes):
    """The model as Hydra makes it: the class that the configuration names, with all else that it says."""
    config = {**load(files[2]), **changes}
    module, kind = config.pop('_target_').split('.')
    assert module == files[1].stem == files[2].stem == config['name']
    model = getattr(_imported(files[1]), kind)(bands=bands, normalization=normalization, **config)
    return model.eval()


def features(backbone, images):
    with torch.no_grad():
        return pooled(backbone(images)[-1])


def close(found, expected):
    assert expected.std() > 1e-3
    assert float((found - expected).abs().max()) < 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize('bands', [3, 5])
@pytest.mark.parametrize('family', SIZES)
def test_features_are_those_of_the_pre_training(family, bands, tmp_path):
    path, student, _ = training(tmp_path / 'run.pth', family, bands=bands, **SIZES[family])
    files = export_torchgeo_bench(path, tmp_path / 'out')
    assert sorted(files) == sorted(file for file in (tmp_path / 'out').rglob('*') if file.is_file())
    names = [f'band {i}' for i in range(bands)]
    side = 64 if family == 'vit' else 96
    images = 200 * torch.rand(2, bands, side, side)
    first = torch.arange(bands).float().view(-1, 1, 1)
    normalized = (images - 100 - first) / (50 + first)  # what the checkpoint says
    with torch.no_grad():
        close(instantiated(files, bands_of(*names), 'identity')(images), features(student, normalized))
        close(instantiated(files, bands_of(*names), 'model_native')(images), features(student, normalized))
        # 10,000 is white in Sentinel-2's units, as 255 is in 8 bits
        native = instantiated(files, bands_of(*names, top=9000.0), 'model_native')
        close(native(images * 10000 / 255), features(student, normalized))
        found = instantiated(files, bands_of(*names), 'bandspec_zscore')(images)
        close(found, features(student, (images - 60 - first) / (20 + first)))


def test_other_sizes_of_a_vit(tmp_path):
    path, student, teacher = training(tmp_path / 'run.pth', 'vit', 'DINOMC', out_type='cls_token', patch_size=8)
    files = export_torchgeo_bench(path, tmp_path / 'out')
    assert files[3].read_text().count('dataset.image_size=64') == 2
    images = torch.randn(2, 3, 48, 96)
    for branch, backbone in ((None, teacher), ('student', student)):
        files = export_torchgeo_bench(path, tmp_path / 'out', branch)
        model = instantiated(files, bands_of('r', 'g', 'b'), 'identity', pixels=NOTHING)
        with torch.no_grad():
            close(model(images), features(backbone, images))
            with pytest.raises(ValueError, match=r'images of \(48, 90\) pixels, expected multiples of 8'):
                model(images[..., :90])


NOTHING = dict(bands=None, mean=[0.0] * 3, std=[1.0] * 3, unit='uint8')


@pytest.mark.slow
def test_wide_and_deep_networks(tmp_path):
    """Bottlenecks, twice as wide inside; and a ConvNeXt that averages before its last norm."""
    wide = dict(depth=50, base_channels=128, stem_channels=64, expansion=2)
    for family, changes in (('resnet', wide), ('convnext', dict(gap_before_final_norm=True))):
        path, student, _ = training(tmp_path / 'run.pth', family, **changes)
        content = torch.load(path, weights_only=False)
        for key, value in [*student.state_dict().items(), *content['state_dict'].items()]:
            if value.ndim == 4 and not key.startswith('teacher'):
                value *= 0.1  # else fifty layers overflow
        torch.save(content, path)
        files = export_torchgeo_bench(path, tmp_path / family)
        images = torch.randn(2, 3, 64, 64)
        model = instantiated(files, bands_of('r', 'g', 'b'), 'identity', pixels=NOTHING)
        with torch.no_grad():
            expected = student(images)[-1]
            close(model(images), expected.mean((2, 3)) if family == 'resnet' else expected)


def with_pipeline(path, loader, **dataset):
    """A checkpoint whose config also says how rasters are loaded."""
    content = torch.load(path, weights_only=False)
    dataset = dict(type='mmrs_ssl.SceneDataset', pipeline=[dict(type='mmrs_ssl.LoadRaster', **loader)], **dataset)
    content['meta']['cfg'] += f'\ntrain_dataloader = {dict(dataset=dataset)!r}\n'
    torch.save(content, path)


def test_bands_go_by_their_names(tmp_path):
    path, student, _ = training(tmp_path / 'run.pth', bands=4, **SIZES['resnet'])
    with_pipeline(path, dict(bands=None), band_files=['B8', 'B04', 'B03', 'B02'])
    files = export_torchgeo_bench(path, tmp_path / 'out')
    assert load(files[2])['pixels']['bands'] == ['B8', 'red', 'green', 'blue']
    given = bands_of('blue', 'coastal_aerosol', 'green', 'red', 'nir')
    images = 200 * torch.rand(2, 5, 64, 64)
    order = [4, 3, 2, 0]
    first = torch.arange(4).float().view(-1, 1, 1)
    model = instantiated(files, given, 'identity')
    assert model.num_channels == 5  # those of the data set, which torchgeo-bench asks for
    with torch.no_grad():
        close(model(images), features(student, (images[:, order] - 100 - first) / (50 + first)))
        statistics = torch.tensor(order).float().view(-1, 1, 1)
        expected = features(student, (images[:, order] - 60 - statistics) / (20 + statistics))
        close(instantiated(files, given, 'bandspec_zscore')(images), expected)
    with pytest.raises(
        ValueError, match=r'the network takes 4 bands, here B8, red, green, blue, and the data set gives'
    ):
        instantiated(files, bands_of('red', 'green', 'blue'), 'identity')


@pytest.mark.parametrize(
    ('loader', 'names'),
    [
        (dict(bands=['red', 'green', 'B8A']), ['red', 'green', 'B8A']),
        (dict(bands=3), None),
        (dict(bands=[2, 1, 0]), None),
    ],
)
def test_names_that_a_config_says(loader, names, tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', **SIZES['resnet'])
    with_pipeline(path, loader)
    files = export_torchgeo_bench(path, tmp_path / 'out')
    assert load(files[2])['pixels']['bands'] == names
    assert ('does not name its 3' in files[3].read_text()) == (names is None)


def test_names_that_mean_the_same():
    same = [('B8A', 'red_edge_4', 'b8a'), ('B04', 'red', 'b4'), ('swir_1', 'SWIR1', 'B11'), ('water_vapour', 'b09')]
    assert [len({canonical(name) for name in names}) for names in same] == [1] * len(same)
    assert len({canonical(names[0]) for names in same}) == len(same)


def test_bands_by_position_are_counted(tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', **SIZES['resnet'])
    files = export_torchgeo_bench(path, tmp_path / 'out')
    with pytest.raises(ValueError, match=r'gives 4 bands \(r, g, b, nir\), the network takes 3: .*dataset\.bands='):
        instantiated(files, bands_of('r', 'g', 'b', 'nir'), 'identity')
    with pytest.raises(ValueError, match=r'dataset\.normalization=minmax, expected bandspec_zscore'):
        instantiated(files, bands_of('r', 'g', 'b'), 'minmax')


def test_heights_have_no_unit(tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', bands=1, **SIZES['resnet'])
    with_pipeline(path, dict(bands=1, height='above_minimum'))
    files = export_torchgeo_bench(path, tmp_path / 'out')
    assert 'heights' in files[3].read_text()
    with pytest.raises(ValueError, match=r'the unit .* is None, expected one of uint8.*bandspec_zscore'):
        instantiated(files, bands_of('height'), 'model_native')
    mixed = [*bands_of('r', 'g'), Band('sar', 'vv', 'vv', -12.0, 4.0, -40.0, 5.0)]
    with pytest.raises(ValueError, match='bands of several units'):
        instantiated(files, mixed, 'model_native', pixels=NOTHING)


def test_maps_for_segmentation(tmp_path):
    """The modules that the configuration names give maps of rising size, the deepest first."""
    for family, changes in SIZES.items():
        path, _, _ = training(tmp_path / 'run.pth', family, **changes)
        files = export_torchgeo_bench(path, tmp_path / family)
        model = instantiated(files, bands_of('r', 'g', 'b'), 'bandspec_zscore')
        layers, seen = load(files[2])['eval']['segmentation']['layers'], []
        for layer in layers:
            module = model.get_submodule(f'backbone.{layer}')
            module.register_forward_hook(lambda module, images, maps, seen=seen: seen.append(tuple(maps.shape)))
        with torch.no_grad():
            model(torch.rand(1, 3, 64, 64))
        assert len(seen) == len(layers) >= 2
        widths = [64, 128, 256, 512] if family == 'resnet' else [8, 16, 32, 64]
        sides = [16, 8, 4, 2]
        if family == 'vit':
            expected = [(1, 17, 64)] * 2
        elif family == 'swin':
            expected = [(1, side, side, width) for side, width in zip(sides, widths, strict=True)]
        else:
            expected = [(1, width, side, side) for side, width in zip(sides, widths, strict=True)]
        assert seen == expected  # in the order of the computation
        assert layers == sorted(layers, reverse=True)


@pytest.mark.slow
def test_the_files_need_torch_and_torchvision_alone(tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', 'vit')
    files = export_torchgeo_bench(path, tmp_path / 'out')
    tree = ast.walk(ast.parse(files[1].read_text()))
    imported = {name.name for node in tree if isinstance(node, ast.Import) for name in node.names}
    tree = ast.walk(ast.parse(files[1].read_text()))
    imported |= {str(node.module) for node in tree if isinstance(node, ast.ImportFrom)}
    ours = {name for name in imported if name.split('.')[0] not in sys.stdlib_module_names}
    assert {name.split('.')[0] for name in ours} == {'torch', 'torchvision'}
    weights = torch.load(files[0], weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    assert str(tmp_path) not in files[2].read_text() + files[3].read_text()
    code = f'import {files[1].stem} as model, sys; assert not any(name.startswith("mm") and "." not in name and ' + (
        f'name != {files[1].stem!r} for name in ["mmrs_ssl", "mmengine", "mmcv"] if name in sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], cwd=files[1].parent, check=True)


# At 224 pixels the last map is one window, which mmpretrain shifts if it is told to take maps of any size.
SHIFTED = dict(window_size=7, arch=dict(embed_dims=8, depths=[1, 1, 1, 2], num_heads=[1, 2, 4, 8]))


@pytest.mark.parametrize(
    ('family', 'changes', 'message'),
    [
        ('resnet', {}, "its stem has 8 channels, that of torchvision's ResNets 64"),
        ('resnet', dict(deep_stem=True), 'there is no map from ResNet of mmpretrain, deep stem to torchvision'),
        ('vit', dict(out_type='avg_featmap'), "out_type='avg_featmap', expected 'cls_token' or 'featmap'"),
        ('vit', dict(layer_scale_init_value=0.1), r'no weight like layers\.0\.attn\.gamma1'),
        ('vit', dict(with_cls_token=False), 'always has weights like cls_token'),
        (
            'swin',
            SHIFTED,
            r'features with its weights that differ by .*shifted windows of it: there the features are others',
        ),
        ('convnext', dict(arch=dict(depths=[1] * 4, channels=[8, 16, 24, 64])), 'no network of these sizes'),
    ],
)
def test_what_torchvision_does_not_have_is_refused(family, changes, message, tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', family, **changes)
    with pytest.raises(ValueError, match=f'cannot be written for torchgeo-bench: .*{message}'):
        export_torchgeo_bench(path, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_several_modalities_together_are_refused(tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', 'vit')
    content = torch.load(path, weights_only=False)
    old = "'type': 'VisionTransformer'"
    assert old in content['meta']['cfg']
    content['meta']['cfg'] = content['meta']['cfg'].replace(old, "'type': 'mmrs_ssl.ModalityVisionTransformer'")
    torch.save(content, path)
    with pytest.raises(ValueError, match='takes several modalities'):
        export_torchgeo_bench(path, tmp_path / 'out')
    path.with_name('file').touch()
    with pytest.raises(ValueError, match='is a file, expected a folder'):
        export_torchgeo_bench(path, path.with_name('file'))


def test_one_modality_of_several(tmp_path):
    path, _, teacher = training(tmp_path / 'run.pth', 'vit', 'MSSDF')
    content = torch.load(path, weights_only=False)
    statistics = dict(rgb=dict(mean=[100.0] * 3, std=[50.0] * 3), dsm=dict(mean=[6.0], std=[3.0]))
    old = content['meta']['cfg']
    start = old.index("'data_preprocessor': ")
    end = old.index("'backbone'")
    content['meta']['cfg'] = f"{old[:start]}'data_preprocessor': {dict(modalities=statistics)!r}, {old[end:]}"
    torch.save(content, path)
    files = export_torchgeo_bench(path, tmp_path / 'out', branch='teacher', modality='dsm')
    assert files[1].stem.endswith('_dsm')
    images = torch.randn(2, 1, 64, 64)
    model = instantiated(files, bands_of('height'), 'identity')
    with torch.no_grad():
        close(model(images * 3 + 6), features(teacher, images.expand(-1, 3, -1, -1)))


def test_the_default_is_what_authors_evaluate(tmp_path):
    path, student, _ = training(tmp_path / 'run.pth', 'vit', 'CMID')
    model = instantiated(
        export_torchgeo_bench(path, tmp_path / 'out'), bands_of('r', 'g', 'b'), 'identity', pixels=NOTHING
    )
    images = torch.randn(2, 3, 64, 64)
    other = mine('vit')
    other.load_state_dict(student.state_dict())
    with torch.no_grad():
        close(model(images), features(other, images))
