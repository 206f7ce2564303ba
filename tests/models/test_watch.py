"""What counts as the features among the things that backbones return."""

import pytest
import torch
from torch import nn

from mmrs_ssl.models.backbones.pooling import averaged
from mmrs_ssl.models.protocol import evaluated_backbone
from mmrs_ssl.models.watch import BackboneWatch, main_output
from tests.conftest import build_dino

MAP, LAST, TOKENS, VECTORS = (torch.randn(size) for size in ((2, 4, 8, 8), (2, 8, 4, 4), (2, 5, 8), (2, 8)))


@pytest.mark.parametrize(
    ('output', 'features', 'mean'),
    [
        ((MAP, LAST), LAST, LAST.mean(dim=(2, 3))),
        ((TOKENS, torch.ones(2, 16), torch.zeros(2, 16, dtype=torch.long)), TOKENS, TOKENS.mean(dim=1)),  # MAE
        ([TOKENS, MAP], MAP, MAP.mean(dim=(2, 3))),
        (VECTORS, VECTORS, VECTORS),
        (dict(tokens=TOKENS.half()), TOKENS.half(), TOKENS.half().mean(dim=1).float()),
    ],
)
def test_features_of_a_backbones_output(output, features, mean):
    found = main_output(output)
    assert torch.equal(found, features)
    assert torch.equal(averaged([found]), mean)
    assert averaged([found, found]).shape == (4, mean.shape[1])


def test_no_features():
    with pytest.raises(TypeError, match='tuple without a map, tokens or vectors'):
        main_output((torch.zeros(3), torch.zeros(2, 2, dtype=torch.long)))


@pytest.mark.parametrize('by_name', [True, False])
def test_a_pass_is_what_it_was_given_and_what_it_gave(by_name):
    class Backbone(nn.Module):
        def forward(self, image, factor=1.0):
            return (image * factor,)

    model = nn.Module()
    model.backbone = Backbone()
    watch = BackboneWatch(model, 'test', lambda seen: seen)
    model.backbone(MAP)  # before it is asked to look
    watch.start()
    made = model.backbone(image=MAP, factor=3.0) if by_name else model.backbone(MAP, factor=3.0)
    watch.stop()
    model.backbone(MAP)
    ((image, rest, options, output),) = watch.collect()
    assert image is MAP
    assert (rest, options) == ((), dict(factor=3.0))
    assert output is made
    with pytest.raises(RuntimeError, match=r'test: the backbone \(Backbone\) was not called in this step'):
        watch.collect()


def test_a_model_without_a_backbone():
    with pytest.raises(AttributeError, match='monitor: Linear has no backbone to look at'):
        BackboneWatch(nn.Linear(1, 1), 'monitor', lambda seen: seen)


def test_the_only_backbone_is_the_evaluated_one():
    model = build_dino()
    assert evaluated_backbone(model) is model.teacher.module['backbone']
    other = nn.Module()
    other.backbone = model.backbone
    assert evaluated_backbone(other) is model.backbone
