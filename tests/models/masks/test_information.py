"""Information-aware and cross-modal masks against the golden numbers, formulas written here and many draws."""

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from mmrs_ssl.models.masks.cross_modal import substitute, substituted_patches
from mmrs_ssl.models.masks.information import draw_mask, masked_patches, masking_probability, patch_information


def pixels(found, name):
    return torch.from_numpy(found[f'info/image_{name}']).permute(2, 0, 1)[None]


def test_information_is_the_golden_one(mssdf_golden):
    first, second = (patch_information(pixels(mssdf_golden, name), 16) for name in 'ab')
    np.testing.assert_allclose(first[0].numpy(), mssdf_golden['info/score_a_only'], rtol=1e-5)
    np.testing.assert_allclose((first + second)[0].numpy(), mssdf_golden['info/score'], rtol=1e-5)


def test_probability_is_the_golden_one(mssdf_golden):
    score = torch.from_numpy(mssdf_golden['info/score'])[None].float()
    np.testing.assert_allclose(masking_probability(score)[0].numpy(), mssdf_golden['info/probability'], rtol=1e-5)


@pytest.mark.parametrize(
    ('bands', 'kind'), [(3, torch.uint8), (3, torch.float32), (1, torch.float32), (5, torch.uint8)]
)
def test_batched_information_against_opencv_patch_by_patch(bands, kind):
    rng = torch.Generator().manual_seed(bands)
    images = torch.randint(0, 256, (3, bands, 32, 48), generator=rng).to(kind)
    scores = patch_information(images, 16)
    assert scores.shape == (3, 6)
    for image, row in zip(images.permute(0, 2, 3, 1).double().numpy(), scores, strict=True):
        for number, score in enumerate(row.tolist()):
            down, across = divmod(number, 3)
            patch = image[16 * down : 16 * down + 16, 16 * across : 16 * across + 16]
            gray = patch @ np.array([0.299, 0.587, 0.114]) if bands == 3 else patch.mean(axis=2)
            if bands == 3 and kind == torch.uint8:
                gray = np.floor(gray + 0.5)
            gradient = np.hypot(*(cv2.Sobel(gray, cv2.CV_64F, *order, ksize=3) for order in ((1, 0), (0, 1))))
            assert score == pytest.approx(gradient.mean() + patch.var(), rel=1e-5)


def test_information_is_that_of_each_patch_alone():
    """What lies beyond a patch's border, and in other images, does not matter."""
    images = torch.rand(2, 3, 32, 32) * 255
    other = images.clone()
    other[1] = 0
    other[0, :, 16:] = 0
    first, second = patch_information(images, 16), patch_information(other, 16)
    assert torch.equal(first[0, :2], second[0, :2])
    assert (second[0, 2:] == 0).all()
    assert (second[1] == 0).all()


def test_mixed_precision_leaves_the_information_alone():
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    plain = patch_information(images, 8)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = patch_information(images, 8)
        assert torch.equal(masking_probability(mixed), masking_probability(plain))
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, plain)


@pytest.mark.parametrize('patches', [2, 5, 16, 36, 196, 400])
def test_percentiles_are_numpys(patches):
    """At whole ranks (16, 36, 196) and between them."""
    given = torch.rand(20, patches, generator=torch.Generator().manual_seed(patches)) * 100
    information = given.double().numpy()
    low, high = np.percentile(information, [20, 80], axis=1, keepdims=True)
    weights = np.where(information < low - 1e-5, 0.8, np.where(information > high + 1e-5, 0.3, 0.5))
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(masking_probability(given), expected, rtol=1e-5)


def test_weights_by_percentile():
    """Of ten patches two are below the 20th percentile, two above the 80th."""
    weights = masking_probability(torch.arange(10.0).flip(0)[None])[0]
    expected = torch.tensor([0.3] * 2 + [0.5] * 6 + [0.8] * 2)
    torch.testing.assert_close(weights, expected / expected.sum())
    even = masking_probability(torch.ones(1, 8))  # no patch is above or below
    torch.testing.assert_close(even, torch.full((1, 8), 1 / 8))


def test_first_draws_follow_the_probabilities():
    """Chi-square of 20,000 draws of one patch each."""
    torch.manual_seed(0)
    probability = masking_probability(torch.arange(10.0)[None]).repeat(20000, 1)
    counts = draw_mask(probability, 0.1).sum(dim=0).numpy()
    assert counts.sum() == 20000
    assert (
        chisquare(counts, 20000 * probability[0].double().numpy() / probability[0].double().sum().item()).pvalue > 1e-3
    )
    assert chisquare(counts).pvalue < 1e-6  # and would not follow even ones


def test_all_draws_follow_successive_sampling():
    """How often each patch is masked at 75 %, against numpy drawing one after another without replacement."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    probability = masking_probability(torch.arange(16.0)[None])
    masked = draw_mask(probability.repeat(20000, 1), 0.75).double().mean(dim=0).numpy()
    exact = probability[0].double().numpy()
    exact /= exact.sum()
    draws = [rng.choice(16, 12, replace=False, p=exact) for _ in range(20000)]
    expected = np.bincount(np.concatenate(draws), minlength=16) / 20000
    np.testing.assert_allclose(masked, expected, atol=0.02)
    assert masked[:3].mean() > masked[-3:].mean() + 0.15  # informative patches stay visible more often


@pytest.mark.parametrize(('patches', 'ratio', 'masked'), [(16, 0.75, 12), (400, 0.75, 300), (196, 0.6, 118)])
def test_every_image_has_the_exact_number_masked(patches, ratio, masked):
    mask = draw_mask(torch.rand(50, patches).softmax(dim=1), ratio)
    assert mask.dtype == torch.bool
    assert (mask.sum(dim=1) == masked).all()
    assert len({tuple(row.tolist()) for row in mask}) > 40


@pytest.mark.parametrize('ratio', [0.0, 0.01, 0.99, 1.0])
def test_nothing_visible_or_nothing_masked(ratio):
    with pytest.raises(ValueError, match=rf'masking\.ratio={ratio} masks \d+ of 16 patches'):
        draw_mask(torch.full((1, 16), 1 / 16), ratio)
    with pytest.raises(ValueError, match=rf'masking\.ratio={ratio} masks \d+ of 16 patches'):
        masked_patches(16, ratio)


@pytest.mark.parametrize('share', [0.1, 0.3, 0.5, 0.7])
def test_substitution_takes_the_exact_number_and_common_patches_first(share):
    torch.manual_seed(1)
    masks = [draw_mask(torch.full((60, 100), 0.01), 0.75) for _ in range(2)]
    visible, others = ~masks[0], ~masks[1]
    left = substitute(visible, others, substituted_patches(25, share))
    hidden = visible & ~left
    assert not (left & ~visible).any()  # nothing becomes visible
    assert (left.sum(dim=1) == 25 - round(share * 25)).all()
    common = (visible & others).sum(dim=1)
    expected = common.clamp(max=round(share * 25))
    assert torch.equal((hidden & others).sum(dim=1), expected)
    assert common.min() < round(0.5 * 25) < 25


def test_substituted_patches_are_drawn_evenly():
    torch.manual_seed(0)
    visible = torch.zeros(6000, 8, dtype=torch.bool)
    visible[:, :6] = True
    others = torch.zeros_like(visible)
    others[:, 4:] = True  # 4 and 5 are visible in both
    hidden = visible & ~substitute(visible, others, 3)
    assert hidden[:, 4:6].all()
    counts = hidden[:, :4].sum(dim=0).numpy()
    assert chisquare(counts).pvalue > 1e-3


def test_substitution_that_hides_everything():
    for share in (0.9, 1.0):
        with pytest.raises(ValueError, match='hides all 4 visible patches'):
            substituted_patches(4, share)
    assert [substituted_patches(10, share) for share in (0.0, 0.04, 0.1, 0.66, 0.94)] == [0, 0, 1, 7, 9]
    visible = torch.ones(2, 4, dtype=torch.bool)
    assert torch.equal(substitute(visible, visible, 0), visible)
