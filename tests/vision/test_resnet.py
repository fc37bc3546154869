"""ResNet against transformers' with the same random weights, under both published naming schemes."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import ResNetConfig as PublishedConfig
from transformers import ResNetModel

from deixis.errors import InputError, ModelError
from deixis.vision.resnet import ResNet, ResNetConfig, load_pretrained

SIZE = ResNetConfig(depths=(1, 2, 2, 1), width=4)


@pytest.fixture(scope="module")
def published() -> ResNetModel:
    torch.manual_seed(0)
    config = PublishedConfig(embedding_size=4, hidden_sizes=[16, 32, 64, 128], depths=[1, 2, 2, 1])
    model = ResNetModel(config).eval()
    for name, tensor in model.state_dict().items():
        if "running_var" in name:
            tensor.uniform_(0.5, 2)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.3)
    return model


def transformers_names(model: ResNetModel) -> dict[str, Tensor]:
    """As on the hub, with the head of a classifier."""
    state = {f"resnet.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    return state | {"classifier.1.weight": torch.zeros(5, 128), "classifier.1.bias": torch.zeros(5)}


def torchvision_names(model: ResNetModel) -> dict[str, Tensor]:
    """As in torchvision's files, where the parts of a block are numbered from 1."""
    renamed = {"fc.weight": torch.zeros(5, 128), "fc.bias": torch.zeros(5)}
    for name, tensor in model.state_dict().items():
        name = name.replace("embedder.embedder.convolution", "conv1").replace("embedder.embedder.normalization", "bn1")
        name = re.sub(r"encoder\.stages\.(\d)\.layers", lambda found: f"layer{int(found[1]) + 1}", name)
        name = name.replace("shortcut.convolution", "downsample.0").replace("shortcut.normalization", "downsample.1")
        name = re.sub(r"layer\.(\d)\.convolution", lambda found: f"conv{int(found[1]) + 1}", name)
        name = re.sub(r"layer\.(\d)\.normalization", lambda found: f"bn{int(found[1]) + 1}", name)
        renamed[name] = tensor.clone()
    return renamed


@pytest.mark.parametrize("scheme", [transformers_names, torchvision_names])
@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_published_weights_give_the_published_maps(
    published: ResNetModel, tmp_path: Path, scheme: object, ending: str
) -> None:
    assert callable(scheme)
    file = tmp_path / f"resnet.{ending}"
    (save_file if ending == "safetensors" else torch.save)(scheme(published), file)  # type: ignore[operator]
    resnet = ResNet(SIZE)
    load_pretrained(resnet, file)
    images = torch.randn(2, 3, 70, 90)
    maps = resnet(images)
    with torch.no_grad():
        expected = published(images, output_hidden_states=True).hidden_states[1:]
    assert [each.shape[1] for each in maps] == list(resnet.widths)
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs)


def test_stages_are_at_strides_4_to_32() -> None:
    maps = ResNet(SIZE)(torch.randn(1, 3, 72, 88))
    assert [tuple(each.shape[1:]) for each in maps] == [(16, 18, 22), (32, 9, 11), (64, 5, 6), (128, 3, 3)]


def test_frozen_norms_keep_their_statistics_and_train_their_scales() -> None:
    resnet = ResNet(SIZE).train()
    before = {name: tensor.clone() for name, tensor in resnet.named_buffers()}
    resnet(torch.randn(2, 3, 64, 64))[-1].sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in resnet.named_buffers())
    assert resnet.bn1.weight.grad is not None
    trained = ResNet(ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained")).train()
    trained(torch.randn(2, 3, 64, 64))
    assert trained.bn1.running_mean.any()  # type: ignore[union-attr]


def test_a_parents_train_does_not_thaw_frozen_norms() -> None:
    parent = nn.ModuleList([ResNet(SIZE)]).train()
    assert not any(each.training for each in parent.modules() if isinstance(each, nn.BatchNorm2d))


def test_files_that_do_not_fit_are_one_sentence(published: ResNetModel, tmp_path: Path) -> None:
    weights = torchvision_names(published)
    file = tmp_path / "resnet.pth"
    with pytest.raises(InputError, match="There are no weights at"):
        load_pretrained(ResNet(SIZE), file)
    torch.save(weights, file)
    with pytest.raises(InputError, match=r"missing layer3.2.bn1.bias, .* and \d+ more; unexpected nothing"):
        load_pretrained(ResNet(ResNetConfig(depths=(1, 2, 3, 1), width=4)), file)
    with pytest.raises(InputError, match=r"of shape \[\d+.*expected"):
        load_pretrained(ResNet(ResNetConfig(depths=(1, 2, 2, 1), width=8)), file)
    torch.save(weights | {"odd": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="unexpected odd"):
        load_pretrained(ResNet(SIZE), file)
    torch.save(weights | {"bn1.weight": torch.full((4,), torch.nan)}, file)
    with pytest.raises(ModelError, match="not finite"):
        load_pretrained(ResNet(SIZE), file)


def test_old_files_without_counts_of_batches_are_read(published: ResNetModel, tmp_path: Path) -> None:
    weights = {name: each for name, each in torchvision_names(published).items() if "num_batches" not in name}
    torch.save(weights, tmp_path / "resnet.pth")
    load_pretrained(resnet := ResNet(SIZE), tmp_path / "resnet.pth")
    assert torch.equal(resnet.conv1.weight, weights["conv1.weight"])


@pytest.mark.parametrize("change", [{"depths": (1, 1, 1)}, {"depths": (1, 0, 1, 1)}, {"width": 0}])
def test_a_wrong_config_is_one_sentence(change: dict) -> None:
    with pytest.raises(InputError, match=r"The ResNet's .* expected"):
        ResNetConfig(**change)


def test_the_default_is_resnet_101() -> None:
    with torch.device("meta"):
        resnet = ResNet()
    assert sum(isinstance(each, nn.Conv2d) for each in resnet.modules()) == 104  # 100 and the four projections
    assert (
        sum(each.numel() for each in resnet.parameters()) == 44_549_160 - 2_049_000
    )  # torchvision's, without its head
