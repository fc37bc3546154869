"""I3D against the public port with the same weights, its padding against plain sums, and its published files."""

import json
import re
import runpy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from deixis.data.transforms import Preprocess
from deixis.errors import InputError, ModelError
from deixis.vision.i3d import CONSECUTIVE, END_POINTS, I3D, I3DConfig, load_pretrained, max_pool, published_range

SHARED = Path(__file__).parents[3] / "shared" / "goldens"
SMALL = I3DConfig(width=4)
has_goldens = pytest.mark.skipif(not (SHARED / "i3d_small.json").exists(), reason="the goldens are not beside this")


@lru_cache(maxsize=1)
def published() -> dict[str, Tensor]:
    """The weights of the goldens' recipe, under the names of the public port."""
    recipe = runpy.run_path(str(SHARED / "recipe.py"))
    facts = json.loads((SHARED / "i3d_small.json").read_text())
    named = facts["state_dict"].items()
    return {
        name: torch.from_numpy(np.asarray(recipe["weight"](name, shape)))
        for name, (shape, dtype) in named
        if dtype == "float32"
    }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> I3D:
    file = tmp_path_factory.mktemp("i3d") / "rgb_imagenet.pt"
    torch.save(published(), file)  # no num_batches_tracked, as files of PyTorch 0.3
    load_pretrained(i3d := I3D(), file)
    return i3d.eval()


@has_goldens
@pytest.mark.parametrize(
    ("prefix", "seed", "shape"),
    [
        ("a", 0, (8, 64, 64)),
        ("b", 1, (9, 70, 58)),
        pytest.param("c", 2, (16, 224, 224), marks=pytest.mark.slow),
        ("d", 3, (8, 100, 132)),
    ],
)
def test_every_end_point_is_the_public_ports(filled: I3D, prefix: str, seed: int, shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(seed).standard_normal((1, 3, *shape)).astype(np.float32)
    facts, stored = json.loads((SHARED / "i3d_small.json").read_text()), load_file(SHARED / "i3d_small.safetensors")
    with torch.no_grad():
        found = dict(filled.end_points(torch.from_numpy(noise)))
        if prefix == "c":
            found["avg_pool"] = F.avg_pool3d(found["Mixed_5c"], (2, 7, 7), stride=1)
            weight, bias = (published()[f"logits.conv3d.{name}"] for name in ("weight", "bias"))
            found["logits"] = F.conv3d(found["avg_pool"], weight, bias)
    expected = {name: each for name, each in stored.items() if name.startswith(f"{prefix}.")}
    assert len(expected) == {"a": 16, "b": 16, "c": 3, "d": 4}[prefix]
    for name, right in expected.items():
        own, tensor = found[name.partition(".")[2]], facts["tensors"][name]
        assert [*own.shape] == tensor["full_shape"]
        own = own[tuple(slice(None, None, step) for step in tensor["step"])]
        torch.testing.assert_close(own, right, atol=1e-4 * tensor["std"], rtol=0, msg=name)


def second_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the second port names them."""
    parts = {"b0": "branch_0", "b1a": "branch_1.0", "b1b": "branch_1.1", "b2a": "branch_2.0", "b2b": "branch_2.1"}
    renamed = {}
    for name, tensor in weights.items():
        layer, _, rest = name.partition(".")
        if layer.startswith("Mixed"):
            part, _, rest = rest.partition(".")
            rest = f"{(parts | {'b3b': 'branch_3.1'})[part]}.{rest}"
        layer = "conv3d_0c_1x1" if layer == "logits" else layer[0].lower() + layer[1:]
        renamed[f"{layer}.{rest.replace('bn.', 'batch3d.')}"] = tensor
    return renamed


def with_classifier(i3d: I3D) -> dict[str, Tensor]:
    return i3d.state_dict() | {"logits.conv3d.weight": torch.zeros(5, 64, 1, 1, 1), "logits.conv3d.bias": torch.ones(5)}


@pytest.mark.parametrize("is_second", [False, True])
def test_files_of_both_ports_fill_it_without_their_classifier(is_second: bool, tmp_path: Path) -> None:
    theirs = I3D(SMALL)
    weights = with_classifier(theirs)
    named = second_names(weights) if is_second else weights
    assert not is_second or {"mixed_3b.branch_1.0.conv3d.weight", "conv3d_0c_1x1.conv3d.weight"} <= named.keys()
    torch.save(named, tmp_path / "rgb.pt")
    load_pretrained(ours := I3D(SMALL), tmp_path / "rgb.pt")
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in theirs.state_dict().items())
    load_pretrained(short := I3D(I3DConfig(width=4, levels=("Mixed_3c",))), tmp_path / "rgb.pt")
    assert not any(name.startswith("Mixed_4") for name in short.state_dict())
    assert torch.equal(short.Mixed_3c.b0.bn.weight, theirs.Mixed_3c.b0.bn.weight)  # type: ignore[union-attr]


def test_files_that_do_not_fit_are_one_sentence(tmp_path: Path) -> None:
    file, weights = tmp_path / "rgb.pt", with_classifier(I3D(SMALL))
    with pytest.raises(InputError, match="There are no weights at"):
        load_pretrained(I3D(SMALL), file)
    for change, error, message in (
        ({"odd": torch.zeros(1)}, InputError, "unexpected odd"),
        ({"Mixed_3b.b0.bn.bias": torch.zeros(9)}, InputError, r"of shape \[9\]; expected \[4\]"),
        ({"Mixed_3b.b0.bn.bias": torch.full((4,), torch.nan)}, ModelError, "not finite"),
    ):
        torch.save(weights | change, file)
        with pytest.raises(error, match=message):
            load_pretrained(I3D(SMALL), file)
    torch.save({name: each for name, each in weights.items() if "Mixed_5" not in name}, file)
    with pytest.raises(InputError, match=r"missing Mixed_5b.b0.bn.bias, .* and \d+ more; unexpected nothing"):
        load_pretrained(I3D(SMALL), file)
    torch.save({"weights": nn.Linear(1, 1)}, file)  # an object, whose loading would run code
    with pytest.raises(ModelError, match="cannot be read safely"):
        load_pretrained(I3D(SMALL), file)


def test_the_published_network_has_57_convolutions() -> None:
    with torch.device("meta"):
        i3d = I3D()
    assert sum(isinstance(each, nn.Conv3d) for each in i3d.modules()) == 57
    assert sum(each.numel() for each in i3d.parameters()) == 12_697_264 - 400 * 1025  # without the classifier
    assert i3d.widths == (64, 192, 480, 832, 1024)
    assert len(i3d.state_dict()) == 344 - 2


def test_the_levels_have_the_strides_of_the_five_resolutions() -> None:
    maps = I3D(SMALL)(torch.randn(1, 3, 8, 72, 88))
    sizes = [(4, 36, 44), (4, 18, 22), (4, 9, 11), (2, 5, 6), (1, 3, 3)]
    assert [tuple(each.shape[2:]) for each in maps] == sizes
    consecutive = I3D(I3DConfig(width=4, levels=CONSECUTIVE))(torch.randn(1, 3, 1, 40, 40))
    assert [tuple(each.shape[2:]) for each in consecutive] == [(1, 3, 3)] * 3 + [(1, 2, 2)] * 2


@pytest.mark.parametrize("size", [6, 7])
def test_a_pooling_is_padded_as_tensorflow_does(size: int) -> None:
    values = torch.rand(1, 1, 1, 1, size)
    found = max_pool(values, (1, 1, 3), (1, 1, 2)).flatten().tolist()
    front = max(3 - (size % 2 or 2), 0) // 2
    row = values.flatten().tolist()
    windows = [range(2 * place - front, 2 * place - front + 3) for place in range(-(-size // 2))]
    assert found == [max(row[at] for at in window if 0 <= at < size) for window in windows]


def test_frames_are_rescaled_to_the_published_range() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    frame = torch.from_numpy(Preprocess(image_size=5, fit="pad").image(pixels))
    found = published_range(frame[None, :, None])[0, :, 0, :4].numpy()
    np.testing.assert_allclose(found, pixels.transpose(2, 0, 1) / 255 * 2 - 1, atol=1e-6)
    i3d = I3D(SMALL).eval()
    (_, first), *_ = i3d.end_points(published_range(frame[None, :, None]))
    assert torch.equal(i3d(frame[None, :, None])[0], first)


def test_frozen_norms_keep_their_statistics_and_train_their_scales() -> None:
    parent = nn.ModuleList([I3D(I3DConfig(width=4, levels=("Conv3d_2c_3x3",)))]).train()
    i3d: Any = parent[0]
    before = {name: tensor.clone() for name, tensor in i3d.named_buffers()}
    i3d(torch.randn(2, 3, 2, 16, 16))[-1].sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in i3d.named_buffers())
    assert i3d.Conv3d_1a_7x7.bn.weight.grad is not None
    trained: Any = I3D(I3DConfig(width=4, levels=("Conv3d_2c_3x3",), norms="trained")).train()
    trained(torch.randn(2, 3, 2, 16, 16))
    assert trained.Conv3d_1a_7x7.bn.running_mean.any()


def test_a_wrong_config_is_one_sentence() -> None:
    with pytest.raises(InputError, match=re.escape("no end point 'Mixed_4g'. Did you mean 'Mixed_4")):
        I3DConfig(levels=("Mixed_4g",))
    changes: list[dict[str, Any]] = [{"width": 0}, {"levels": ()}, {"levels": (END_POINTS[-1], END_POINTS[0])}]
    for change in changes:
        with pytest.raises(InputError, match=r"I3D's .* expected"):
            I3DConfig(**change)
