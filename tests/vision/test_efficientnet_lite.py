"""EfficientNet-Lite against a forward pass in NumPy, and its published weights on crops of photos."""

import itertools
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from PIL import Image

from deixis.errors import InputError
from deixis.vision.efficientnet_lite import (
    KERNELS,
    PACKAGE,
    SHOWN,
    STRIDES,
    EfficientNetLite,
    EfficientNetLiteConfig,
    load_efficientnet_lite,
    published_file,
)
from deixis.weights import read_file

SMALL = EfficientNetLiteConfig(depths=(1, 2, 1, 1, 1, 1, 1), widths=(4, 4, 6, 6, 8, 8, 10), stem=4)
PHOTOS = Path(__file__).parents[2] / "../shared/data/photos_train"


def same_convolution(
    maps: Float[np.ndarray, "c h w"], kernel: Float[np.ndarray, "o c2 k k"], stride: int, depthwise: bool = False
) -> Float[np.ndarray, "o y x"]:
    """TensorFlow's SAME padding: as many outputs as strides fit, an odd pixel of padding at the end."""
    side = kernel.shape[-1]
    counts = [-(-size // stride) for size in maps.shape[1:]]
    pads = []
    for size, count in zip(maps.shape[1:], counts, strict=True):
        total = max((count - 1) * stride + side - size, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(maps, [(0, 0), *pads])
    result = np.zeros((len(kernel), *counts))
    for row in range(counts[0]):
        for column in range(counts[1]):
            part = padded[:, row * stride : row * stride + side, column * stride : column * stride + side]
            product = kernel[:, 0] * part if depthwise else kernel * part[None]
            result[:, row, column] = product.reshape(len(kernel), -1).sum(1)
    return result


def norm(maps: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    mean, variance, scale, shift = (
        weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (maps - mean) / np.sqrt(variance + 1e-3) * scale + shift


def relu6(maps: np.ndarray) -> np.ndarray:
    return np.clip(maps, 0, 6)


def literal(pixels: np.ndarray, weights: Mapping[str, np.ndarray], depths: tuple[int, ...]) -> list[np.ndarray]:
    """The maps of one image, whose pixels are 0 to 255, as the published description has it."""
    maps = relu6(norm(same_convolution((pixels - 127) / 128, weights["conv_stem.weight"], 2), weights, "bn0"))
    number, found = 0, []
    for stage, depth in enumerate(depths):
        for place in range(depth):
            name, start = f"blocks.{number}", maps
            stride = STRIDES[stage] if place == 0 else 1
            if stage:
                maps = relu6(
                    norm(same_convolution(maps, weights[f"{name}.expand_conv.weight"], 1), weights, f"{name}.bn0")
                )
            kernel = weights[f"{name}.depthwise_conv.weight"]
            assert kernel.shape[-1] == KERNELS[stage]
            maps = relu6(norm(same_convolution(maps, kernel, stride, depthwise=True), weights, f"{name}.bn1"))
            maps = norm(same_convolution(maps, weights[f"{name}.project_conv.weight"], 1), weights, f"{name}.bn2")
            if stride == 1 and maps.shape == start.shape:
                maps = maps + start
            number += 1
        if stage in SHOWN:
            found.append(maps)
    return found


def test_it_equals_a_forward_pass_in_numpy_also_for_odd_sizes() -> None:
    draw = np.random.default_rng(3)
    network = EfficientNetLite(SMALL).double()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            low = 0.5 if name.endswith("running_var") else -0.5
            value.copy_(torch.as_tensor(draw.uniform(low, 1.0, value.shape)))
    pixels = draw.uniform(0, 255, (3, 45, 38))
    mean, std = (255 * np.array(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        found = network(torch.as_tensor((pixels - mean) / std)[None])
    expected = literal(pixels, {name: value.numpy() for name, value in network.state_dict().items()}, SMALL.depths)
    for own, right, stride in zip(found, expected, (4, 8, 16, 32), strict=True):
        assert own.shape[-2:] == (-(-45 // stride), -(-38 // stride))
        np.testing.assert_allclose(own[0].numpy(), right, rtol=1e-6, atol=1e-4)
    assert tuple(each.shape[1] for each in found) == network.stage_widths


def test_frozen_norms_keep_their_statistics_in_training() -> None:
    network = EfficientNetLite(SMALL).train()
    before = network.bn0.running_mean.clone()
    network(torch.randn(2, 3, 32, 32))
    assert torch.equal(network.bn0.running_mean, before)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"_conv_stem.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth does not fit this EfficientNet-Lite: \S+ is missing"):
        load_efficientnet_lite(EfficientNetLite(SMALL), tmp_path / "other.pth")
    with pytest.raises(InputError, match="There are no weights at"):
        load_efficientnet_lite(EfficientNetLite(SMALL), tmp_path / "absent.pth")


@pytest.mark.slow
@pytest.mark.skipif(find_spec(PACKAGE) is None, reason="deixis[photos-train] is not installed")
def test_the_published_weights_name_objects_in_crops_of_photos() -> None:
    if not PHOTOS.is_dir():
        pytest.skip("the photos are not beside the checkout")
    network = EfficientNetLite().eval()
    load_efficientnet_lite(network)
    raw: Any = read_file(published_file())
    crops = itertools.chain(_crops("val.json"), _crops("train.json"))
    right = [_top(network, raw, crop) in classes for crop, classes in crops]
    assert len(right) >= 150
    assert np.mean(right) >= 0.6


# COCO's class -> ImageNet's classes that show it.
CLASSES: dict[str, tuple[int, ...]] = {
    "zebra": (340,),
    "elephant": (101, 385, 386),
    "pizza": (963,),
    "banana": (954,),
    "broccoli": (937,),
    "orange": (950,),
    "laptop": (620, 681),
    "toilet": (861,),
    "bus": (654, 779, 874),
    "cat": (281, 282, 283, 284, 285),
    "bear": (294, 295, 296, 297),
    "teddy bear": (850,),
    "sheep": (348, 349, 350),
    "microwave": (651,),
    "umbrella": (879,),
    "parking meter": (704,),
}


def _crops(file: str) -> Iterator[tuple[Image.Image, tuple[int, ...]]]:
    content = json.loads((PHOTOS / file).read_text())
    names = {each["id"]: each["name"] for each in content["categories"]}
    photos = {each["id"]: each for each in content["images"]}
    for record in content["annotations"]:
        photo, (left, top, width, height) = photos[record["image_id"]], record["bbox"]
        if names[record["category_id"]] in CLASSES and width * height > 0.08 * photo["width"] * photo["height"]:
            image = Image.open(PHOTOS / "images" / photo["file_name"]).convert("RGB")
            side = max(width, height) * 1.1
            centre = left + width / 2, top + height / 2
            box = [round(value) for x in (-0.5, 0.5) for value in (centre[0] + x * side, centre[1] + x * side)]
            yield image.crop(tuple(box)).resize((260, 260)), CLASSES[names[record["category_id"]]]


def _top(network: EfficientNetLite, raw: Mapping[str, torch.Tensor], crop: Image.Image) -> int:
    pixels = torch.as_tensor(np.asarray(crop, np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        last = network((pixels - network.mean) / network.std)[-1]
        head = torch.nn.functional.conv2d(last, raw["_conv_head.weight"])
        statistics = [raw[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        head = torch.nn.functional.batch_norm(head, *statistics, eps=1e-3).clamp(0, 6)
        return int((head.mean((2, 3)) @ raw["_fc.weight"].T + raw["_fc.bias"]).argmax())
