"""SceneParsing: one logit per class at stride 4, gradients for every weight, and the weights that it publishes."""

from fnmatch import fnmatch

import pytest
import torch
import torch.nn.functional as F

from deixis.errors import InputError
from deixis.models.scene_parsing import SceneParsing, SceneParsingConfig
from deixis.vision.i3d import RESOLUTIONS, I3DConfig
from deixis.vision.resnet import ResNetConfig
from deixis.vision.swin import SwinConfig

VISION = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0, coordinates=True)


RESNET = ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained")
I3D = I3DConfig(levels=RESOLUTIONS[1:], width=4, norms="trained")


@pytest.fixture(params=[VISION, RESNET, I3D], ids=["swin", "resnet", "i3d"])
def parser(request: pytest.FixtureRequest) -> SceneParsing:
    torch.manual_seed(0)
    return SceneParsing(SceneParsingConfig(vision=request.param, attributes=(("kind", 5), ("colour", 3)), width=16))


def test_every_attribute_has_a_logit_for_background_and_each_value(parser: SceneParsing) -> None:
    logits = parser(torch.randn(2, 8, 3, 64, 48))
    assert {name: tuple(map.shape) for name, map in logits.items()} == {
        "kind": (2, 6, 16, 12),
        "colour": (2, 4, 16, 12),
    }


def test_every_weight_gets_a_gradient(parser: SceneParsing) -> None:
    classes = {"kind": torch.randint(0, 6, (2, 16, 16)), "colour": torch.randint(0, 4, (2, 16, 16))}
    logits = parser(torch.randn(2, 8, 3, 64, 64))
    sum(F.cross_entropy(logits[name], target) for name, target in classes.items()).backward()
    still = [name for name, weight in parser.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_the_config_builds_it_and_names_the_encoder_for_publication(parser: SceneParsing) -> None:
    built = parser.config.build()
    assert built.state_dict().keys() == parser.state_dict().keys()
    assert type(built.vision) is type(parser.vision)
    patterns = built.config.publishes
    published = {name for name in built.state_dict() if any(fnmatch(name, pattern) for pattern in patterns)}
    assert published == {f"vision.{name}" for name in built.vision.state_dict()}
    assert published < built.state_dict().keys()


def test_a_config_without_attributes_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one attribute"):
        SceneParsingConfig(vision=VISION, attributes=())


def test_an_i3d_whose_finest_level_is_not_at_stride_4_is_an_error() -> None:
    with pytest.raises(InputError, match="begins with the level Conv3d_1a_7x7; expected one at stride 4"):
        SceneParsingConfig(vision=I3DConfig(), attributes=(("kind", 5),))


def test_a_config_without_channels_or_values_is_an_error() -> None:
    for change in ({"width": 0}, {"attributes": (("kind", 0),)}):
        with pytest.raises(InputError, match="expected a width and numbers of values of 1 or more"):
            SceneParsingConfig(**{"vision": VISION, "attributes": (("kind", 5),), **change})
