"""Position embeddings and tables of relative positions of another size, or without a class token's."""

import pytest
import torch

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.adapt import resize_relative_positions
from tests.transfer.backbones import COUNTERPARTS, SWIN, agree, build, mine, same, save, under, weights_of


@pytest.mark.parametrize('size', [96, (64, 128)])
def test_position_embeddings_are_mmpretrains(size, tmp_path):
    """Its own resizing is the reference, and mmseg's ViT gets the same."""
    source = mine('vit')
    path = save(under('backbone.', source.state_dict()), tmp_path / 'mine.pth')
    reference, target = mine('vit', seed=1, img_size=size), mine('vit', seed=2, img_size=size)
    reference.load_state_dict(source.state_dict())
    report = load_backbone(target, path)
    assert list(report.adapted) == ['pos_embed']
    torch.testing.assert_close(target.pos_embed, reference.pos_embed, rtol=1e-6, atol=1e-6)
    assert torch.equal(target.pos_embed[:, 0], source.pos_embed[:, 0])  # the class token's is kept
    image = torch.randn(1, 3, *target.img_size)
    agree(target, reference, image)
    other = build('mmseg', COUNTERPARTS['vit'], seed=3, img_size=size)
    load_backbone(other, path)
    agree(other, reference, image)


def test_a_model_without_a_class_token(tmp_path):
    """Patches attended to it: their features would be others."""
    target = mine('vit', seed=1, with_cls_token=False)
    before = weights_of(target)
    with pytest.raises(ValueError, match=r'unplaced +1  cls_token\n.*which all others attend to.*with_cls_token=True'):
        load_backbone(target, save(weights_of(mine('vit')), tmp_path / 'mine.pth'))
    assert same(weights_of(target), before)


@pytest.mark.parametrize('size', [64, 96])
def test_positions_of_patches_alone(size, tmp_path):
    """timm's no_embed_class: nothing is added to the class token."""
    source = mine('vit')
    source.pos_embed.data[:, 0] = 0
    weights = weights_of(source)
    whole, patches = (
        save(weights | dict(pos_embed=weights['pos_embed'][:, i:]), tmp_path / f'{i}.pth') for i in (0, 1)
    )
    reference, target = (mine('vit', seed=seed, img_size=size) for seed in (1, 2))
    load_backbone(reference, whole)
    report = load_backbone(target, patches)
    resized = f'4x4 -> {size // 16}x{size // 16} patches, ' if size > 64 else ''
    assert report.adapted == {'pos_embed': f"{resized}zeros as the class token's position"}
    assert same(weights_of(target), weights_of(reference))


def test_a_file_without_a_class_token(tmp_path):
    path = save(weights_of(mine('vit', with_cls_token=False)), tmp_path / 'mine.pth')
    with pytest.raises(ValueError, match=r'(?s)missing +1  cls_token.*the file has no position of a class token'):
        load_backbone(mine('vit', seed=1), path)


def test_absolute_positions_of_swin(tmp_path):
    source = mine('swin', use_abs_pos_embed=True)
    reference, target = (mine('swin', seed=seed, use_abs_pos_embed=True, img_size=96) for seed in (1, 2))
    reference.load_state_dict(source.state_dict())
    report = load_backbone(target, save(weights_of(source), tmp_path / 'mine.pth'))
    assert report.adapted == {'absolute_pos_embed': '16x16 -> 24x24 patches'}
    torch.testing.assert_close(target.absolute_pos_embed, reference.absolute_pos_embed, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('library', ['mmseg', 'mmdet'])
def test_relative_positions_are_mmsegs(library, tmp_path):
    """For larger windows; its own reading of the same file is the reference."""
    path = str(save(weights_of(mine('swin')), tmp_path / 'mine.pth'))
    changes = dict(window_size=4)
    if library == 'mmdet':
        changes['out_indices'] = (3,)
    reference = build('mmseg', SWIN, seed=1, init_cfg=dict(type='Pretrained', checkpoint=path), **changes)
    reference.init_weights()
    target = build(library, SWIN, seed=2, **changes)
    report = load_backbone(target, path)
    tables = [key for key in weights_of(target) if key.endswith('relative_position_bias_table')]
    assert list(report.adapted) == tables
    assert report.adapted[tables[0]] == '3 -> 7 relative positions a side'
    for key in tables:
        torch.testing.assert_close(weights_of(target)[key], weights_of(reference)[key], rtol=1e-6, atol=1e-6)
    image = torch.randn(1, 3, 64, 64)
    agree(target, reference, image)


def test_a_table_keeps_what_is_symmetric():
    table = torch.outer(torch.tensor([1.0, 4, 9, 4, 1]), torch.tensor([2.0, 3, 5, 3, 2])).reshape(25, 1)
    larger = resize_relative_positions(table, 81).reshape(9, 9)
    torch.testing.assert_close(larger, larger.flip(0))
    torch.testing.assert_close(larger, larger.flip(1))
    assert larger.argmax() == 40  # the center
    assert not torch.allclose(larger, larger.T)


def test_bands_in_the_files_own_order_are_as_they_were(tmp_path):
    """Else a frozen stem that takes them would count as changed."""
    path = save(under('backbone.', mine('resnet').state_dict()), tmp_path / 'a.pth')
    for bands, kind in (([0, 1, 2], 'matched'), ([2, 1, 0], 'adapted')):
        report = load_backbone(mine('resnet', seed=1), path, bands=bands)
        assert 'conv1.weight' in getattr(report, kind)
