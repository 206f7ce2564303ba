"""Every row of the table of CMID's published recipe is what the configs build."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from mmrs_ssl import get_config
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.datasets.transforms import RandomGaussianBlur
from mmrs_ssl.engine.hooks import TeacherUpdateHook
from mmrs_ssl.models.masks.blocks import block_grid, block_mask
from mmrs_ssl.models.matching import boxes_overlap
from tests.engine.optim.test_schedulers import products
from tests.recipes.table import (
    Checks,
    crop_of,
    curve,
    decays,
    drop_paths,
    hook_of,
    model_of,
    momentum_rises,
    pipeline_of,
    plain_batch_norms,
    rows_of,
)

CMID = 'cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px'
CMID_SWIN = 'cmid_swin-base_4xb64-amp-coslr-200e_millionaid-224px'
CHECKS = Checks()


@CHECKS.of('first resize')
def first_resize():
    (_, views, _), windows = pipeline_of(CMID), pipeline_of('cmid_resnet18_1xb64-coslr-100e_geotiff-224px')
    for shape in ((1111, 1111), (100, 150), (224, 300)):
        noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        resized = views.first(dict(img=noise, img_shape=shape))['img']
        expected = np.array(Image.fromarray(noise).resize((224, 224), Image.Resampling.BICUBIC), float)
        assert np.abs(resized - expected).mean() <= 1
    assert windows[3].first is None


@CHECKS.of('weak view')
def weak_view():
    _, views, _ = pipeline_of(CMID)
    (weak,) = views.views[0].transforms
    assert crop_of(weak) == ((0.3, 1.0), (3 / 4, 4 / 3), 0.5, 1.0)


@CHECKS.of('strong view')
def strong_view():
    _, views, _ = pipeline_of(CMID)
    crop, jitter, blur, noise, solarize, gray = views.views[1].transforms
    assert crop_of(crop) == ((0.3, 1.0), (3 / 4, 4 / 3), 0.5, 1.0)
    np.testing.assert_allclose(jitter.range / 2, (0.4, 0.4, 0.2, 0.1))
    assert [step.prob for step in (jitter, blur, noise, solarize, gray)] == [0.8, 1.0, 0.6, 0.2, 0.2]
    assert noise.variance == (10, 50)
    assert solarize.threshold == 128 / 255
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    boxes = [views(dict(img=image, img_shape=(224, 224), rng=np.random.default_rng(s)))['boxes'] for s in range(20)]
    assert all((first != second).any() for first, second in boxes)  # its own crop


@CHECKS.of('blur')
def blur_of_cmid():
    _, views, _ = pipeline_of(CMID)
    (blur,) = [step for step in views.views[1].transforms if isinstance(step, RandomGaussianBlur)]
    assert (blur.kernel, blur.sigma) == ((3, 7), (0.1, 2.0))
    point = np.zeros((15, 15, 1), np.float32)
    point[7, 7] = 1
    blur.sigma = (3, 3)  # so that a kernel's width shows
    widths = [(blur.apply(point, np.random.default_rng(s), None) > 0).any((0, 2)).sum() for s in range(1000)]
    for width, share in {3: 0.2, 5: 0.4, 7: 0.4}.items():
        assert widths.count(width) == pytest.approx(1000 * share, abs=65)


@CHECKS.of('statistics')
def statistics_of_cmid():
    preprocessor = MODELS.build(get_config(CMID).model.data_preprocessor)
    np.testing.assert_allclose(preprocessor.mean.flatten() / 255, [0.33797, 0.3605, 0.3348], atol=1e-4)
    np.testing.assert_allclose(preprocessor.std.flatten() / 255, [0.1359, 0.1352, 0.1407], atol=1e-4)


@CHECKS.of('positions of crops')
def positions_of_crops():
    """The weak view shows what lies in its box of pixels."""
    _, views, _ = pipeline_of(CMID)
    rows, columns = np.mgrid[:224, :224].astype(np.uint8)
    image = np.stack([rows, columns, columns], axis=-1)
    for seed in range(8):
        found = views(dict(img=image, img_shape=(224, 224), rng=np.random.default_rng(seed)))
        top, left, height, width = found['boxes'][0]
        middle = [top + (height - 1) / 2, left + (width - 1) / 2]
        np.testing.assert_allclose(found['img'][0].mean((0, 1))[:2], middle, atol=1)


@CHECKS.of('images on the device')
def images_on_the_device():
    _, views, pack = pipeline_of(CMID)
    image = np.zeros((300, 300, 3), np.uint8)
    sample = pack(views(dict(img=image, img_shape=(300, 300), rng=np.random.default_rng(0))))
    assert [tuple(view.shape) for view in sample['inputs']] == [(3, 224, 224)] * 2


@CHECKS.of('masks')
def masks():
    model = model_of(CMID, **{'backbone.depth': 18})
    mask = block_mask(5, block_grid(224, 224, model.mask_block), model.mask_ratio)
    assert mask.shape == (5, 7, 7)
    assert mask.sum(dim=(1, 2)).tolist() == [30] * 5  # ceil(0.6 * 49)


@CHECKS.of('mask token')
def mask_token():
    model = model_of(CMID, **{'backbone.depth': 18})
    assert not model.mask_token.token.any()
    assert model.mask_token.mode == 'add'
    assert model_of(CMID, mask_token_mode='replace', **{'backbone.depth': 18}).mask_token.mode == 'replace'
    assert decays(CMID, model)['mask_token.token'] == 0.02


@CHECKS.of('queue at the start')
def queue_at_the_start():
    queue = MODELS.build(get_config(CMID).model.global_head).queue
    torch.testing.assert_close(queue.norm(dim=1), torch.ones(65536))


@CHECKS.of('queue')
def queue():
    head = MODELS.build(get_config(CMID).model.global_head)
    assert head.queue.shape == (65536, 256)
    head.queue_position.fill_(65530)
    keys = torch.nn.functional.normalize(torch.randn(37, 256), dim=1)
    head.enqueue(keys)
    assert head.queue_position == 31
    torch.testing.assert_close(torch.cat([head.queue[65530:], head.queue[:31]]), keys)


@CHECKS.of('keys of several GPUs')
def keys_of_several_gpus(gathered=4):
    """Of four processes, as mmengine's gathering gives them; by real ones in tests/engine/test_two_runs.py."""
    head = MODELS.build({**get_config(CMID).model.global_head, 'queue_length': 2048})
    with pytest.MonkeyPatch.context() as patch:
        others = [torch.randn(128, 256) for _ in range(gathered - 1)]
        patch.setattr('mmrs_ssl.models.heads.contrast.all_gather', lambda keys: [keys, *others])
        head.enqueue(torch.randn(128, 256))
    assert head.queue_position == gathered * 128
    assert len(head.queue[: gathered * 128].unique(dim=0)) == gathered * 128


@CHECKS.of('temperatures')
def temperatures_of_cmid():
    model = model_of(CMID, **{'backbone.depth': 18})
    assert (model.global_head.temperature, model.student_temperature) == (0.2, 0.1)
    hook = hook_of(CMID, 'teacher_temperature')
    assert hook.by_epoch
    assert [hook.value(epoch, 200) for epoch in (0, 49, 199)] == pytest.approx([0.04, 0.07, 0.07])
    assert hook.value(24, 200) < 0.055 < hook.value(25, 200)


@CHECKS.of('views that share no ground')
def views_that_share_no_ground():
    boxes = torch.tensor([[[0.0, 0, 50, 50]], [[100.0, 100, 50, 50]]])
    assert not boxes_overlap(*boxes).any()
    model = model_of(CMID, **{'backbone.depth': 18})
    scores = torch.randn(2 * 20, 2048)
    assert model.local_loss(scores, scores.flip(0), torch.zeros(2)) == 0
    both, one = (model.local_loss(scores, scores.flip(0), torch.tensor(weight)) for weight in ([1.0, 1.0], [1.0, 0.0]))
    assert both > 0
    assert one > 0


@CHECKS.of('BatchNorm')
def batch_norm_of_cmid():
    assert get_config(CMID).sync_bn == 'torch'
    count, plain = plain_batch_norms(model_of(CMID, **{'backbone.depth': 18}))
    assert count == 2 * (20 + 2)  # of backbone and local head, in student and teacher
    assert not plain


@CHECKS.of('Swin-B')
def swin_base():
    cfg = get_config(CMID_SWIN)
    assert (cfg.model.backbone.type, cfg.model.backbone.arch) == ('mmrs_ssl.PaddedSwinTransformer', 'base')
    model = model_of(CMID_SWIN, **{'backbone.arch': 'tiny'})
    assert not any(drop_paths(model))


@CHECKS.of('learning rate')
def learning_rate_of_cmid():
    cfg = get_config(CMID)
    assert (cfg.optim_wrapper.optimizer.lr, cfg.auto_scale_lr.base_batch_size) == (4e-3, 256)
    assert cfg.train_dataloader.batch_size == 64


@CHECKS.of('schedule')
def schedule_of_cmid():
    expected = np.transpose([products(lr, 200, 10) for lr in (0.4, 0.1)])
    np.testing.assert_allclose(curve(CMID), expected, rtol=1e-6, atol=1e-12)
    # of the highest rate it is up to 4.6 % below a cosine that begins after the warm-up
    late = 0.4 * (1 + np.cos(np.pi * (np.arange(600) - 30) / 570)) / 2
    assert 0.04 < ((late - expected[:, 0])[30:] / 0.4).max() < 0.05


@CHECKS.of('weight decay')
def weight_decay_of_cmid():
    model = model_of(CMID, **{'backbone.depth': 18})
    found = decays(CMID, model)
    vectors = {name for name, parameter in model.named_parameters() if parameter.ndim == 1} - {'mask_token.token'}
    assert {name for name, decay in found.items() if decay == 0} == vectors & found.keys()
    assert {decay for name, decay in found.items() if name not in vectors} == {0.02}


@CHECKS.of('teacher momentum')
def teacher_momentum_of_cmid():
    momentum_rises(CMID)


@CHECKS.of("teacher's update")
def update_of_the_teacher():
    """After the iteration, of the student that the optimizer's step has left, and not between accumulated batches."""
    assert hook_of(CMID, kind='TeacherUpdateHook')
    model = model_of(CMID, **{'backbone.depth': 18})
    before = model.teacher.module['backbone'].conv1.weight.clone()
    with torch.no_grad():
        model.backbone.conv1.weight += 1  # the step
    for due, moved in ((False, 0), (True, 0.004)):
        runner = SimpleNamespace(model=model, optim_wrapper=SimpleNamespace(should_update=lambda due=due: due))
        TeacherUpdateHook().after_train_iter(runner, 0)
        torch.testing.assert_close(model.teacher.module['backbone'].conv1.weight, before + moved)


@CHECKS.of('precision')
def precision_of_cmid():
    cfg = get_config(CMID)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')
    set_precision(cfg, amp=False)
    if not torch.cuda.is_available():
        assert cfg.optim_wrapper.type == 'mmrs_ssl.CPUAmpOptimWrapper'


@pytest.mark.parametrize('row', rows_of('cmid'))
def test_row(row):
    init_default_scope('mmpretrain')
    CHECKS[row]()


def test_the_table_has_every_row_that_is_asserted():
    assert rows_of('cmid') == list(CHECKS)
