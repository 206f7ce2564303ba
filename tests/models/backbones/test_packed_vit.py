"""One packed forward pass of a ViT is the separate ones, and stochastic depth acts on whole crops."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmrs_ssl.models.backbones.packed_vit import Crops, packed_class_tokens
from tests.conftest import BACKBONES

PUBLISHED = (224, 224, 184, 164, 144, 124, 104, 84)  # 164, 124 and 84 are no multiples of 8


def make_vit(**options):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    settings = dict(
        type='VisionTransformer',
        arch=dict(embed_dims=48, num_layers=3, num_heads=4, feedforward_channels=96),
        img_size=224,
        patch_size=8,
        patch_cfg=dict(padding=0),
    )
    vit = MODELS.build({**settings, **options})
    vit.init_weights()
    with torch.no_grad():  # biases and scales that matter
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vit


def crops(sizes, count=2, bands=3):
    return [torch.randn(count, bands, size, size, generator=torch.Generator().manual_seed(size)) for size in sizes]


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(layer_scale_init_value=0.3),
        dict(qkv_bias=False, final_norm=False, layer_cfgs=dict(act_cfg=dict(type='ReLU'))),
        dict(pre_norm=True, interpolate_mode='bilinear'),
    ],
)
def test_outputs_and_gradients_are_those_of_separate_passes(options):
    packed_net, net = make_vit(**options), make_vit(**options)
    views = crops(PUBLISHED)
    tokens = packed_class_tokens(packed_net, views)
    separate = [net(view)[-1] for view in views]
    weights = torch.randn(len(views), 2, 48)
    for mine, reference in zip(tokens, separate, strict=True):
        assert mine.shape == (2, 48)
        torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-5)
    (torch.stack(tokens) * weights).sum().backward()
    (torch.stack(separate) * weights).sum().backward()
    reference = dict(net.named_parameters())
    for name, parameter in packed_net.named_parameters():
        torch.testing.assert_close(parameter.grad, reference[name].grad, rtol=1e-3, atol=1e-4, msg=name)


def test_odd_sizes_are_floored_without_padding():
    """A crop of 84 pixels has 10 x 10 patches; its last 4 rows and columns are not seen."""
    vit = make_vit()
    (view,) = crops([84])
    cut = view.clone()
    cut[..., 80:, :] = 7.0
    cut[..., :, 80:] = 7.0
    assert vit.patch_embed(view)[1] == (10, 10)
    assert torch.equal(*(packed_class_tokens(vit, [image])[0] for image in (view, cut)))
    cut[..., 79, :] = 7.0
    assert not torch.equal(*(packed_class_tokens(vit, [image])[0] for image in (view, cut)))


def test_a_crop_is_not_seen_by_the_others():
    vit = make_vit()
    views = crops((64, 64, 40))
    before = packed_class_tokens(vit, views)
    views[1] = views[1] + 1
    after = packed_class_tokens(vit, views)
    assert torch.allclose(before[0], after[0], atol=1e-6)
    assert torch.allclose(before[2], after[2], atol=1e-6)
    assert not torch.allclose(before[1], after[1], atol=1e-2)


def test_stochastic_depth_drops_whole_crops_as_often_as_asked():
    torch.manual_seed(0)
    rows, probability = torch.ones(2 * 5 + 3 * 2, 4), 0.3
    layout = Crops.of([torch.zeros(2, 5, 4), torch.zeros(3, 2, 4)])
    draws = torch.stack([layout.drop(rows, probability) for _ in range(4000)])  # (4000, 16, 4)
    per_crop = torch.stack([part[..., 0] for part in draws[:, [0, 5, 10, 12, 14]].unbind(1)], dim=1)
    for first, last, crop in ((0, 5, 0), (5, 10, 1), (10, 12, 2), (12, 14, 3), (14, 16, 4)):
        assert (draws[:, first:last] == per_crop[:, crop, None, None]).all()  # all rows of a crop alike
    dropped = (per_crop == 0).float()
    assert torch.allclose(dropped.mean(dim=0), torch.full((5,), probability), atol=4 * (0.21 / 4000) ** 0.5)
    assert torch.corrcoef(dropped.T).fill_diagonal_(0).abs().max() < 0.07  # crops independently
    torch.testing.assert_close(per_crop.max(), torch.tensor(1 / 0.7))


def test_stochastic_depth_in_training_only():
    vit = make_vit(drop_path_rate=0.6)
    views = crops((64, 40), count=8)
    vit.eval()
    assert torch.equal(*(torch.cat(packed_class_tokens(vit, views)) for _ in range(2)))
    vit.train()
    first, second = (torch.cat(packed_class_tokens(vit, views)) for _ in range(2))
    changed = (first != second).any(dim=1)
    assert changed.sum() >= 8


def test_other_networks_are_refused():
    init_default_scope('mmpretrain')
    with pytest.raises(TypeError, match='not for ResNet'):
        packed_class_tokens(MODELS.build(dict(BACKBONES['resnet'][0])), crops([64]))
    with pytest.raises(TypeError, match='cls_token'):
        packed_class_tokens(make_vit(out_type='featmap'), crops([64]))
    with pytest.raises(TypeError, match=r"'out_indices': \[0, 1\]"):
        packed_class_tokens(make_vit(out_indices=[0, 1]), crops([64]))
    swiglu = make_vit(layer_cfgs=dict(ffn_type='swiglu_fused'))
    with pytest.raises(TypeError, match=r'SwiGLUFFNFused; set packed=False'):
        packed_class_tokens(swiglu, crops([64]))


def test_images_that_are_no_squares_have_their_positions():
    vit = make_vit()
    views = [torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)) for size in ((64, 96), (40, 24))]
    for mine, view in zip(packed_class_tokens(vit, views), views, strict=True):
        torch.testing.assert_close(mine, vit(view)[-1], rtol=1e-5, atol=1e-5)
