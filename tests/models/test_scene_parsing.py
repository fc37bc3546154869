"""SceneParsing: one logit a class at stride 4, background lighter than things, and every weight learns."""

import pytest
import torch
import torch.nn.functional as F

from deixis.models.scene_parsing import SceneParsing, SceneParsingConfig
from deixis.vision.swin import SwinConfig

VISION = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0, coordinates=True)


@pytest.fixture
def parser() -> SceneParsing:
    torch.manual_seed(0)
    return SceneParsing(SceneParsingConfig(vision=VISION, attributes=(("kind", 5), ("colour", 3)), width=16))


def test_every_attribute_has_a_logit_for_background_and_each_value(parser: SceneParsing) -> None:
    logits = parser(torch.randn(2, 3, 64, 48))
    assert {name: tuple(map.shape) for name, map in logits.items()} == {
        "kind": (2, 6, 16, 12),
        "colour": (2, 4, 16, 12),
    }


def test_background_weighs_less_than_things(parser: SceneParsing) -> None:
    logits = {"kind": torch.randn(1, 6, 2, 2)}
    classes = {"kind": torch.tensor([[[0, 0], [3, 5]]])}
    each = F.cross_entropy(logits["kind"], classes["kind"], reduction="none")[0]
    expected = (0.3 * each[0].sum() + each[1].sum()) / (0.3 * 2 + 2)
    torch.testing.assert_close(parser.loss(logits, classes)["kind"], expected)


def test_every_weight_gets_a_gradient(parser: SceneParsing) -> None:
    classes = {"kind": torch.randint(0, 6, (2, 16, 16)), "colour": torch.randint(0, 4, (2, 16, 16))}
    terms = parser.loss(parser(torch.randn(2, 3, 64, 64)), classes)
    torch.stack(list(terms.values())).sum().backward()
    still = [name for name, weight in parser.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_a_parser_without_attributes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one attribute"):
        SceneParsingConfig(vision=VISION, attributes=())


def test_a_parser_without_channels_or_values_is_refused() -> None:
    for change in ({"width": 0}, {"attributes": (("kind", 0),)}):
        with pytest.raises(ValueError, match="a width and values of 1 or more"):
            SceneParsingConfig(**{"vision": VISION, "attributes": (("kind", 5),), **change})
