"""Weights that are no plain real numbers in memory, or more memory than they are."""

import pytest
import torch

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.convert import convert_checkpoint
from mmrs_ssl.transfer.export import export_backbone
from tests.transfer.backbones import mine, same, save, weights_of
from tests.transfer.checkpoints import published_cmid, training

# The last weight that a ResNet loads, so that all others would be written before it.
LAST = 'layer4.1.conv2.weight'
KINDS = {
    'quantized': lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    'of the layout torch.sparse_coo': lambda weight: weight.to_sparse(),
    'of the layout torch.sparse_csr': lambda weight: weight.flatten(1).to_sparse_csr(),
    'a meta tensor': lambda weight: weight.to('meta'),
    'a nested tensor': lambda weight: torch.nested.nested_tensor(list(weight)),
}
TYPES = (torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64)


@pytest.mark.filterwarnings('ignore:Sparse CSR tensor support', 'ignore:The PyTorch API of nested tensors')
@pytest.mark.filterwarnings('ignore:.*quantize_per_tensor', 'ignore:TypedStorage is deprecated')
@pytest.mark.parametrize('kind', KINDS)
def test_tensors_without_plain_values_change_nothing(kind, tmp_path):
    weights = weights_of(mine('resnet'))
    target = mine('resnet', seed=1)
    before = weights_of(target)
    path = save(weights | {LAST: KINDS[kind](weights[LAST])}, tmp_path / 'file.pth')
    with pytest.raises(ValueError, match=rf'missing +0\n.*mismatch +1  {LAST} \({kind}'):
        load_backbone(target, path)
    assert same(weights_of(target), before)
    path = save(weights | {'fc.weight': KINDS[kind](weights[LAST])}, tmp_path / 'head.pth')
    assert load_backbone(target, path).ignored == ['fc.weight']
    assert same(weights_of(target), weights)


@pytest.mark.parametrize('dtype', TYPES)
def test_numbers_of_another_kind_change_nothing(dtype, tmp_path):
    """Their scale is not in the file, or half of them would be lost."""
    for family, name in (('resnet', LAST), ('vit', 'pos_embed'), ('resnet', 'conv1.weight')):
        weights = weights_of(mine(family))
        size = dict(img_size=96) if family == 'vit' else dict(in_channels=4) if name == 'conv1.weight' else {}
        target = mine(family, seed=1, **size)
        before = weights_of(target)
        path = save(weights | {name: weights[name].to(dtype)}, tmp_path / 'file.pth')
        with pytest.raises(ValueError, match=rf'{name} \({dtype} in the file, torch\.float32 in the model'):
            load_backbone(target, path)
        assert same(weights_of(target), before)


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16, torch.float64])
def test_other_real_numbers_are_taken(dtype, tmp_path):
    weights = {key: value.to(dtype) for key, value in weights_of(mine('resnet')).items()}  # counts, too
    target = mine('resnet', seed=1)
    load_backbone(target, save(weights, tmp_path / 'file.pth'))
    assert torch.equal(target.conv1.weight, weights['conv1.weight'].float())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_values_that_are_no_numbers_are_neither_exported_nor_converted(value, tmp_path):
    path, *_ = training(tmp_path / 'run.pth')
    content = torch.load(path, weights_only=True)
    content['state_dict'][f'teacher.module.backbone.{LAST}'][0, 0, 0, 0] = value
    torch.save(content, path)
    published_cmid(tmp_path / 'cmid.pth', 'resnet')
    published = torch.load(tmp_path / 'cmid.pth', weights_only=True)
    published['model'][f'online_encoder.model.{LAST}'][0, 0, 0, 0] = value
    torch.save(published, tmp_path / 'cmid.pth')
    out = tmp_path / 'out.pth'
    message = r'{}: layer4\.1\.conv2\.weight: 1 of \d+ values are NaN or inf: pre-training had diverged'
    with pytest.raises(ValueError, match=rf'run\.pth \(teacher\): backbone\.{message[4:]}'):
        export_backbone(path, out, branch='teacher')
    with pytest.raises(ValueError, match=message.format(r'run\.pth \(teacher\)')):
        convert_checkpoint(path, out, 'cmid')
    with pytest.raises(ValueError, match=message.format(r'cmid\.pth \(student\)')):
        convert_checkpoint(tmp_path / 'cmid.pth', out, 'mmrs')
    assert not out.exists()
    export_backbone(path, out, branch='student')  # what is not written may be anything


def test_views_of_one_storage_are_written_without_the_rest_of_it(tmp_path):
    """As programs have them that keep all weights in one flat buffer."""
    published_cmid(tmp_path / 'cmid.pth', 'resnet')
    content = torch.load(tmp_path / 'cmid.pth', weights_only=True)
    flat = torch.zeros(10**7)
    start = 0
    for key, value in content['model'].items():
        if value.is_floating_point():
            view = flat[start : start + value.numel()].view(value.shape).copy_(value)
            content['model'][key], start = view, start + value.numel()
    torch.save(content, tmp_path / 'flat.pth')
    sizes = {}
    for name in ('cmid', 'flat'):
        convert_checkpoint(tmp_path / f'{name}.pth', tmp_path / 'mine.pth', 'mmrs')
        convert_checkpoint(tmp_path / 'mine.pth', tmp_path / 'back.pth', 'cmid')
        sizes[name] = [(tmp_path / out).stat().st_size for out in ('mine.pth', 'back.pth')]
    assert (tmp_path / 'flat.pth').stat().st_size > 4 * 10**7
    assert max(abs(first - second) for first, second in zip(*sizes.values(), strict=True)) < 1000
