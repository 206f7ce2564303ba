"""The hook that loads a backbone, in real runs under each library's scope: when it acts, when not, what it refuses."""

import itertools

import pytest
import torch
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmrs_ssl.engine.hooks.pretrained_backbone import without_files
from tests.conftest import BACKBONES, log_of, train
from tests.downstream import pretrained_file
from tests.transfer.backbones import COUNTERPARTS, build, mine, same, save, under, weights_of

NUMBER = itertools.count()


class Downstream(BaseModel):
    """A model of one of the libraries, as far as the hook sees it; keeps its weights as the first step finds them."""

    def __init__(self, library, **changes):
        super().__init__()
        config = COUNTERPARTS['resnet']
        self.backbone = mine('resnet', seed=1, **changes) if library == 'mmpretrain' else build(library, config, seed=1)
        self.parts = nn.ModuleDict(dict(encoder=mine('resnet', seed=2)))
        self.head = nn.Linear(1, 1)
        self.found = None

    def forward(self, inputs, mode):
        if self.found is None:
            self.found = {name: weights_of(part) for name, part in self.named_children()}
        return dict(loss=self.head(inputs).sum() + sum(weight.sum() for weight in self.backbone.parameters()))


def run(tmp_path, hook=None, library='mmpretrain', model=None, epochs=1, lr=0.0, **options):
    """Train for so many epochs of two iterations."""
    runner = Runner(
        model=model or Downstream(library),
        work_dir=str(tmp_path / 'work'),
        train_dataloader=DataLoader([dict(inputs=torch.ones(1)) for _ in range(2)], batch_size=1),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=lr)),
        custom_hooks=[dict(type='EMAHook'), *([dict(type='mmrs_ssl.PretrainedBackboneHook', **hook)] if hook else [])],
        default_scope=library,
        experiment_name=f'pretrained_backbone_{next(NUMBER)}',
        **options,
    )
    runner.train()
    return runner


@pytest.fixture
def source():
    """A pre-trained backbone."""
    return mine('resnet')


@pytest.fixture
def checkpoint(source, tmp_path):
    """Its checkpoint."""
    return str(save(under('backbone.', source.state_dict()), tmp_path / 'pretrained.pth'))


@pytest.mark.parametrize('library', ['mmpretrain', 'mmseg', 'mmdet'])
def test_it_acts_before_the_first_iteration(library, source, checkpoint, tmp_path):
    runner = run(tmp_path, dict(checkpoint=checkpoint), library)
    assert same(runner.model.found['backbone'], weights_of(source))
    assert same(runner.model.found['parts'], under('encoder.', weights_of(mine('resnet', seed=2))))
    log = log_of(tmp_path / 'work')
    assert log.count(f'ResNet of {library}') == 1
    assert 'matched    120' in log
    hooks = [type(hook).__name__ for hook in runner.hooks]
    assert hooks.index('PretrainedBackboneHook') < hooks.index('EMAHook')  # though the config names it last


def test_another_module_and_other_bands(source, checkpoint, tmp_path):
    model = Downstream('mmpretrain')
    model.parts['encoder'] = mine('resnet', seed=3, in_channels=4)
    run(tmp_path, dict(checkpoint=checkpoint, module='parts.encoder', bands=[2, 1, 0, None]), model=model)
    found = {key.removeprefix('encoder.'): value for key, value in model.found['parts'].items()}
    kernels = found.pop('conv1.weight')
    expected = weights_of(source)
    torch.testing.assert_close(kernels.sum(1), expected['conv1.weight'].sum(1))
    blue_minus_red = kernels[:, 0] - kernels[:, 2]
    torch.testing.assert_close(blue_minus_red, expected['conv1.weight'][:, 2] - expected['conv1.weight'][:, 0])
    del expected['conv1.weight']
    assert same(found, expected)
    assert not torch.equal(model.found['backbone']['bn1.weight'], expected['bn1.weight'])  # left alone


def test_a_resumed_run_goes_on(checkpoint, tmp_path):
    """From its own weights; the file need not even be there any more."""
    trained = run(tmp_path, dict(checkpoint=checkpoint), lr=0.1).model
    resumed = run(tmp_path, dict(checkpoint=str(tmp_path / 'absent.pth')), epochs=2, resume=True)
    assert resumed.iter == 4
    assert not same(trained.found['backbone'], weights_of(trained.backbone))
    assert same(resumed.model.found['backbone'], weights_of(trained.backbone))
    assert 'goes on at iteration 2, nothing to load' in log_of(tmp_path / 'work')


def test_resume_that_finds_nothing_is_a_new_run(source, checkpoint, tmp_path):
    runner = run(tmp_path, dict(checkpoint=checkpoint), resume=True)
    assert runner._resume
    assert same(runner.model.found['backbone'], weights_of(source))


def test_two_sources_of_weights_are_refused(checkpoint, tmp_path):
    other = run(tmp_path)
    path = f'{other.work_dir}/epoch_1.pth'
    with pytest.raises(ValueError, match=r'load_from=.*epoch_1\.pth.*both give weights: remove one'):
        run(tmp_path, dict(checkpoint=checkpoint), load_from=path)


def test_training_does_not_start_without_the_backbone(checkpoint, tmp_path):
    models = [Downstream('mmpretrain') for _ in range(2)]
    wrong = save(mine('vit').state_dict(), tmp_path / 'vit.pth')
    with pytest.raises(ValueError, match=r'(?s)ViT of mmpretrain.*missing +100'):
        run(tmp_path, dict(checkpoint=str(wrong)), model=models[0])
    with pytest.raises(AttributeError, match=r"the model has no 'parts\.decoder'"):
        run(tmp_path, dict(checkpoint=checkpoint, module='parts.decoder'), model=models[1])
    assert [model.found for model in models] == [None, None]


def test_pre_training_that_goes_on_from_a_backbone(make_config, source, checkpoint):
    """The teacher starts from the same."""
    cfg = make_config()
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'mmrs_ssl.PictureHook']
    cfg.custom_hooks.append(dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint=checkpoint))
    cfg.train_cfg.max_epochs = 2
    found = []

    def keep(runner, data):
        if runner.iter == 0:
            found.extend([weights_of(runner.model.backbone), weights_of(runner.model.teacher.module['backbone'])])

    train(cfg, before_train_iter=keep)
    assert same(found[0], weights_of(source))
    assert same(found[1], weights_of(source))


NOWHERE = 'http://127.0.0.1:9/weights.pth'  # who asks there gets an error at once


@pytest.mark.parametrize(
    ('library', 'family', 'options', 'wrapped'),
    [
        ('mmpretrain', 'resnet', dict(init_cfg=dict(type='Pretrained', checkpoint=NOWHERE, prefix='backbone')), True),
        ('mmpretrain', 'vit', dict(init_cfg=[dict(type='Pretrained', checkpoint=NOWHERE)]), False),
        ('mmseg', 'swin', dict(init_cfg=dict(type='Anything', checkpoint=NOWHERE)), True),
        ('mmseg', 'vit', dict(init_cfg=dict(type='Pretrained_Part', checkpoint=NOWHERE)), False),
        ('mmseg', 'resnet', dict(pretrained=NOWHERE), False),
        ('mmdet', 'resnet', dict(init_cfg=dict(type='Pretrained', checkpoint=NOWHERE)), True),
        ('mmdet', 'swin', dict(init_cfg=dict(type='Pretrained', checkpoint=NOWHERE)), False),
    ],
)
@pytest.mark.filterwarnings('ignore:DeprecationWarning. pretrained is a deprecated:UserWarning')
@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")  # mmdetection's own
def test_nothing_is_downloaded_in_its_place(library, family, options, wrapped, tmp_path, request):
    """Whatever the library reads while it initializes; also of a model wrapped for several processes."""
    source = mine(family)
    path = save(under('backbone.', source.state_dict()), tmp_path / 'pretrained.pth')
    model = Downstream('mmpretrain')
    settings = BACKBONES[family][0] if library == 'mmpretrain' else COUNTERPARTS[family]
    model.backbone = build(library, settings, seed=1, **options)
    whole = model
    if wrapped:
        request.getfixturevalue('one_process')
        whole = MMDistributedDataParallel(model, find_unused_parameters=True)
    run(tmp_path, dict(checkpoint=str(path)), library, model=whole)
    report = log_of(tmp_path / 'work')
    assert 'missing      0' in report
    own, expected = model.found['backbone'], weights_of(mine(family) if library == 'mmpretrain' else model.backbone)
    assert same(own, expected)
    assert 'Connection' not in report


@pytest.fixture
def one_process(tmp_path):
    """A process group of this process alone."""
    torch.distributed.init_process_group('gloo', f'file://{tmp_path}/group', world_size=1, rank=0)
    yield
    torch.distributed.destroy_process_group()


def test_other_initialization_stays():
    kaiming, file = dict(type='Kaiming', layer='Conv2d'), dict(type='Pretrained', checkpoint=NOWHERE)
    assert without_files([kaiming, file]) == [kaiming]
    assert without_files(kaiming) == kaiming
    assert without_files(file) is None


# Of 50 layers, whose blocks have a stride in their first or second convolution.
BOTTLENECKS = dict(type='ResNet', depth=50, stem_channels=8, base_channels=8)


@pytest.mark.parametrize(
    ('library', 'settings', 'changes', 'match'),
    [
        ('mmseg', BOTTLENECKS, dict(style='caffe'), r'(?s)computes something else.*style'),
        ('mmdet', BOTTLENECKS, dict(style='caffe'), r'(?s)computes something else.*style'),
        ('mmpretrain', dict(BACKBONES['vit'][0]), dict(num_heads=4), r'(?s)computes something else.*heads'),
        ('mmseg', dict(BACKBONES['vit'][0]), dict(num_heads=4), r'(?s)computes something else.*heads'),
        ('mmdet', BOTTLENECKS, 'nan', r'NaN or inf'),
    ],
)
def test_training_does_not_start_with_another_network(library, settings, changes, match, tmp_path):
    """Though all names and shapes are the model's."""
    vit = settings['type'] == 'VisionTransformer'
    path = tmp_path / 'pretrained.pth'
    pretrained_file(path, settings, mean=[0.0] * 3, std=[1.0] * 3)
    if changes == 'nan':
        content = torch.load(path, weights_only=True)
        content['state_dict']['backbone.layer3.1.conv2.weight'][0, 0, 0, 0] = float('nan')
        torch.save(content, path)
        changes = {}
    model = Downstream('mmpretrain')
    if vit and library == 'mmpretrain':
        settings = dict(settings, arch=dict(settings['arch'], **changes))
        model.backbone = build(library, settings)
    else:
        model.backbone = build(library, COUNTERPARTS['vit'] if vit else settings, **changes)
    with pytest.raises(ValueError, match=match):
        run(tmp_path, dict(checkpoint=str(path)), library, model=model)
    assert model.found is None
