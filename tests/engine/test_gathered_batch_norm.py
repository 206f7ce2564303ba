"""BatchNorm over all processes: on the CPU as of one process with all images, on GPUs torch's own in every model."""

import os
import warnings
from multiprocessing import get_context
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import convert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmrs_ssl.engine.gathered_batch_norm import GatheredBatchNorm, gather_batch_norms
from mmrs_ssl.models.batch_norms import is_batch_norm
from mmrs_ssl.registry import MODEL_WRAPPERS
from tests.conftest import ROOT, build_cmid

EVEN, UNEVEN, ONE_HAS_NONE = (4, 4), (2, 6), (0, 8)
CHANNELS = 5
# name -> options of BatchNorm, how many samples each of two processes has, what else a sample has
CASES = {
    'rows': (dict(), EVEN, ()),
    'maps': (dict(eps=1e-3, momentum=0.3), EVEN, (3, 2)),
    'uneven': (dict(), UNEVEN, (3, 2)),
    'one without samples': (dict(), ONE_HAS_NONE, (2,)),
    'nothing learned': (dict(affine=False), UNEVEN, ()),
    'averages of all batches': (dict(momentum=None), EVEN, ()),
    'no averages': (dict(track_running_stats=False), UNEVEN, ()),
    'far from zero': (dict(), UNEVEN, (4,)),
}


def make_case(name):
    """A SyncBatchNorm that has learned something, all samples, and gradients of what it gives."""
    options, counts, rest = CASES[name]
    generator = torch.Generator().manual_seed(list(CASES).index(name))
    norm = nn.SyncBatchNorm(CHANNELS, **options)
    for parameter in norm.parameters():
        parameter.data.uniform_(0.5, 2.0, generator=generator)
    samples = torch.randn(2, sum(counts), CHANNELS, *rest, generator=generator) * 3 + (1000 if 'far' in name else 2)
    return norm, samples, torch.randn(samples[0].shape, generator=generator), counts


def run_case(norm, samples, gradient, part):
    """Two training passes, one of them without gradients, and one evaluation of a part of the samples."""
    values = samples[0, part].clone().requires_grad_()
    output = norm(values)
    output.backward(gradient[part])
    with torch.no_grad():
        teacher = norm(samples[1, part])
        evaluated = norm.eval()(samples[1, part] + 1)
    found = dict(output=output.detach(), of_values=values.grad, teacher=teacher, evaluated=evaluated)
    found |= {f'of_{name}': parameter.grad for name, parameter in norm.named_parameters()}
    return found | {f'state_{name}': value for name, value in norm.state_dict().items()}


def of_mmcv(rank):
    """Running means of mmcv's, where it is installed with operators, and its state's names before and after."""
    try:
        from mmcv.ops import SyncBatchNorm
    except ImportError:
        return None
    theirs = SyncBatchNorm(1, momentum=0.5)
    (ours,) = gather_batch_norms(nn.Sequential(theirs))
    ours(torch.full((2, 1), float(rank)))
    return ours.running_mean, is_batch_norm(theirs), list(theirs.state_dict()) == list(ours.state_dict())


def both(rank, folder):
    """One of two processes: its part of every case."""
    warnings.resetwarnings()
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    found = {}
    for name in CASES:
        norm, samples, gradient, counts = make_case(name)
        (norm,) = gather_batch_norms(nn.Sequential(norm))
        part = slice(0, counts[0]) if rank == 0 else slice(counts[0], None)
        found[name] = run_case(norm, samples, gradient, part)
    single = GatheredBatchNorm(nn.SyncBatchNorm(2))
    try:
        single(torch.ones(1 - rank, 2))
    except ValueError as error:
        found['too few'] = str(error)
    found['of mmcv'] = of_mmcv(rank)
    half = torch.randn(3, CHANNELS, generator=torch.Generator().manual_seed(rank)).bfloat16()
    found['half'] = half, GatheredBatchNorm(nn.SyncBatchNorm(CHANNELS))(half).detach()
    torch.save(found, f'{folder}/{rank}.pth')
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp('meet')
    processes = [get_context('fork').Process(target=both, args=(rank, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0]
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in range(2)]


@pytest.mark.parametrize('name', CASES)
def test_two_processes_normalize_as_one_with_all_samples(two, name):
    norm, samples, gradient, _ = make_case(name)
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[samples[0].ndim]
    one = kind(CHANNELS, **CASES[name][0])
    one.load_state_dict(norm.state_dict())
    expected = run_case(one, samples, gradient, slice(None))
    parts = [found[name] for found in two]
    assert parts[0].keys() == parts[1].keys() == expected.keys() >= {'output', 'of_values', 'teacher', 'evaluated'}
    for key, wanted in expected.items():
        if key.startswith('state_'):
            own = [part[key] for part in parts]
            assert torch.equal(*own)
            torch.testing.assert_close(own[0], wanted, rtol=1e-5 if 'far' in name else 1e-6, atol=1e-6)
        elif key in ('of_weight', 'of_bias'):
            torch.testing.assert_close(parts[0][key] + parts[1][key], wanted, rtol=1e-5, atol=1e-5)
        elif key == 'evaluated' and 'state_running_mean' not in expected:
            torch.testing.assert_close(torch.cat([part[key] for part in parts]), wanted, rtol=1e-4, atol=1e-5)
        else:
            tolerance = 1e-3 if 'far' in name else 1e-6  # rounding of values near 1000
            joined = torch.cat([part[key] for part in parts])
            torch.testing.assert_close(joined, wanted, rtol=tolerance, atol=tolerance)


def test_each_alone_normalizes_otherwise(two):
    """Else the test above would show nothing."""
    norm, samples, gradient, counts = make_case('uneven')
    one = nn.BatchNorm2d(CHANNELS)
    one.load_state_dict(norm.state_dict())
    alone = run_case(one, samples, gradient, slice(0, counts[0]))
    for key in ('output', 'of_values', 'teacher', 'state_running_mean'):
        assert (alone[key] - two[0]['uneven'][key]).abs().max() > 1e-3, key


def test_one_value_of_all_processes_is_refused(two):
    for found in two:
        assert 'BatchNorm has 1 values per channel in all processes' in found['too few']


def test_mmcvs_own_is_one_too(two):
    for found in two:
        if found['of mmcv'] is None:
            pytest.skip('mmcv is installed without operators')
        mean, known, same_names = found['of mmcv']
        assert mean.item() == 0.25  # half of the mean of 0 and 1
        assert known
        assert same_names


def test_half_precision_is_normalized_in_full(two):
    rows = torch.cat([found['half'][0] for found in two]).float()
    expected = torch.nn.functional.batch_norm(rows, None, None, training=True)
    given = torch.cat([found['half'][1] for found in two])
    assert given.dtype == torch.bfloat16
    torch.testing.assert_close(given, expected.bfloat16(), rtol=0.01, atol=0.01)


def test_names_and_values_stay():
    network = nn.Sequential(nn.SyncBatchNorm(3, momentum=0.4), nn.Sequential(nn.BatchNorm1d(3), nn.SyncBatchNorm(3)))
    network[0].weight.data.fill_(4.0)
    network[1][1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weight = network[0].weight
    gather_batch_norms(network)
    assert [type(each) for each in network[1]] == [nn.BatchNorm1d, GatheredBatchNorm]
    assert type(network[0]) is GatheredBatchNorm
    assert network[0].weight is weight
    assert network[0].momentum == 0.4
    assert not network[1][1].training
    assert list(before) == list(network.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# Torch's own on several GPUs


@MODEL_WRAPPERS.register_module(force=True)
class NoWrapper:
    """Nothing around a model, in place of mmengine's wrapper, which needs the GPUs."""

    def __new__(cls, module, **options):
        return module


def on_two_gpus(cfg, model):
    """The model as mmengine's Runner has it on several GPUs."""
    runner = SimpleNamespace(cfg=cfg, distributed=True, logger=None)
    os.environ.setdefault('LOCAL_RANK', '0')
    return Runner.wrap_model(runner, dict(type='mmrs_ssl.NoWrapper'), model)


def norms_of(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}


BASES = sorted(path.stem for path in (ROOT / 'configs' / '_base_' / 'models').glob('*.py'))
# the parts of a model that have BatchNorm
WITH_NORMS = {
    'cmid_resnet18': {'backbone', 'local_head', 'teacher.backbone', 'teacher.local_head'},
    'cmid_resnet50': {'backbone', 'local_head', 'teacher.backbone', 'teacher.local_head'},
    'cmid_resnet50_byol': {
        'backbone', 'neck', 'local_head', 'global_head', 'teacher.backbone', 'teacher.neck', 'teacher.local_head'
    },
    'dino-mc_resnet18': {'backbone', 'head', 'teacher.backbone', 'teacher.head'},
    'dino-mc_resnet50': {'backbone', 'teacher.backbone'},
    'dino-mc_wide-resnet50': {'backbone', 'teacher.backbone'},
    'byol_resnet50': {'backbone', 'neck', 'head', 'target_net'},
    'simsiam_resnet50': {'backbone', 'neck', 'head'},
}  # fmt: skip


def shrink(model):
    """Make all parts narrow, whatever they are."""
    statistics = dict(mean=[100.0] * 3, std=[50.0] * 3)
    model.data_preprocessor.update(
        dict(modalities=dict(a=statistics, b=statistics)) if 'MSSDF' in model.type else statistics
    )
    if model.backbone.type == 'ResNet':
        model.backbone.update(stem_channels=8, base_channels=8)
    elif 'Swin' in model.backbone.type:
        model.backbone.arch = dict(embed_dims=8, depths=[1] * 4, num_heads=[1] * 4)
    elif model.backbone.type == 'VisionTransformer':
        model.backbone.arch = dict(embed_dims=64, num_layers=1, num_heads=1, feedforward_channels=64)
    narrow = dict(hid_channels=8, hidden_channels=8, num_prototypes=8, queue_length=8, queue_len=8, decoder_depth=1)
    parts = [model]
    while parts:
        part = parts.pop()
        head = str(part.get('type')).endswith('PrototypeHead')
        part.update({name: value for name, value in narrow.items() if name in part})
        part.update(dict(num_prototypes=8, hidden_channels=8) if head else {})
        parts += [each for each in part.values() if isinstance(each, dict)]


@pytest.mark.parametrize('base', BASES)
def test_every_batchnorm_of_every_model_is_synchronized_on_two_gpus(base):
    """But for MoCo v2's, which shuffles images between the GPUs instead, as published."""
    cfg = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / f'{base}.py')
    shrink(cfg.model)
    init_default_scope('mmpretrain')
    found = norms_of(on_two_gpus(cfg, MODELS.build(cfg.model)))
    synchronized = {name for name, norm in found.items() if type(norm) is nn.SyncBatchNorm}
    if base == 'mocov2_resnet50':
        assert found
        assert not synchronized
        return
    assert synchronized == set(found)
    parts = {name.replace('teacher.module.', 'teacher/').split('.')[0].replace('/', '.') for name in synchronized}
    assert parts == WITH_NORMS.get(base, set())


def test_the_converted_model_keeps_its_weights_and_its_teacher_its_way():
    model = build_cmid('resnet')
    before = {name: value.clone() for name, value in model.state_dict().items()}
    converted = convert_sync_batchnorm(model, 'torch')
    assert all(torch.equal(value, before[name]) for name, value in converted.state_dict().items())
    converted.train()
    teachers = {name: norm for name, norm in norms_of(converted).items() if name.startswith('teacher.')}
    assert len(teachers) > 10
    assert all(norm.training for norm in teachers.values())  # by the batches of all, as the student
    converted.eval()
    assert not any(norm.training for norm in teachers.values())


def test_the_prototype_head_normalizes_groups_by_themselves_when_converted():
    """Where SyncBatchNorm was not taken for a BatchNorm, both directions went through it as one batch."""
    head = build_cmid('resnet').local_head.train()
    rows = torch.randn(12, 64)
    rows[6:] += 3
    expected = head(rows, groups=2)
    sync = convert_sync_batchnorm(head, 'torch')
    calls = []
    for norm in norms_of(sync).values():  # it does not run without a GPU
        norm.forward = lambda group, norm=norm: (
            calls.append(len(group)),
            torch.nn.functional.batch_norm(group, None, None, norm.weight, norm.bias, training=True),
        )[1]
    torch.testing.assert_close(sync(rows, groups=2), expected)
    assert calls == [6, 6, 6, 6]
