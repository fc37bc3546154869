"""Files of weights that others wrote: no code is executed, and every fault is one sentence."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deixis.errors import InputError, ModelError
from deixis.weights import check_finite, read_file, tensors_in, without_memory


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.trace),)


def test_no_code_in_a_file_is_executed_and_the_error_does_not_say_how_to(tmp_path: Path) -> None:
    torch.save({"model": Evil(tmp_path / "trace")}, tmp_path / "evil.pth")
    with pytest.raises(
        ModelError, match=r"evil\.pth cannot be read safely as a checkpoint \(it refers to \w+\.mkdir,"
    ) as caught:
        read_file(tmp_path / "evil.pth")
    assert not (tmp_path / "trace").exists()
    assert not any(advice in str(caught.value) for advice in ("weights_only", "safe_globals", "trust", "\n"))


@pytest.mark.parametrize(
    "content",
    [b"\x80\x02.", b"\x80", b"\x80\x02" + b"(" * 9000, b"\x80\x02" + b"]" * 3000 + b"a" * 2999 + b".", b"PK\x03\x04"],
)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_broken_file_is_one_sentence(content: bytes, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.{ending}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"truncated|cannot be read safely|holds a list") as caught:
        read_file(path)
    assert "\n" not in str(caught.value)


def test_floats_of_any_width_are_read_as_float32_and_counts_stay() -> None:
    held = {
        "a": torch.ones(2).to(torch.float8_e4m3fn),
        "b": torch.ones(2).half(),
        "c": torch.tensor(3),
        "d": "a string",
    }
    found = tensors_in(held, "x.pth")
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "a": torch.float32,
        "b": torch.float32,
        "c": torch.int64,
    }
    assert tensors_in(None, "x.pth") == tensors_in([torch.ones(1)], "x.pth") == {}


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        (torch.ones(2, dtype=torch.complex64), "complex64"),
        (torch.eye(2).to_sparse(), "sparse_coo"),
        (torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "float4_e2m1fn_x2"),
        (torch.ones(2, device="meta"), "float32"),
    ],
)
def test_a_kind_of_weight_that_no_network_has_is_named(odd: Tensor, kind: str) -> None:
    with pytest.raises(ModelError, match=f"x.pth has a weight 'w' of type {kind}; store it as float32"):
        tensors_in({"w": odd}, "x.pth")


def test_values_that_are_not_finite_are_named() -> None:
    check_finite({"a": torch.ones(2), "b": torch.tensor(3)}, "x.pth")
    with pytest.raises(ModelError, match=r"x.pth has a weight 'b' with values that are not finite"):
        check_finite({"a": torch.ones(2), "b": torch.tensor([float("inf")])}, "x.pth")


class Drawn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4, padding_idx=0)
        self.project = nn.Linear(4, 3)
        self.query = nn.Parameter(torch.randn(4))
        nn.init.normal_(self.project.weight, std=0.02)
        self.project.bias.data.normal_()


def test_modules_without_memory_have_the_shapes_of_others_and_draw_nothing() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with without_memory():
        system = Drawn()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.is_meta and weight.requires_grad for weight in system.parameters())
    shapes = {name: weight.shape for name, weight in system.state_dict().items()}
    assert shapes == {name: weight.shape for name, weight in Drawn().state_dict().items()}
    assert not nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth", "pytorch_model.bin"])
def test_a_git_lfs_pointer_in_place_of_weights_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n")
    with pytest.raises(InputError, match="is a Git LFS pointer, not the weights themselves; run `git lfs pull`"):
        read_file(tmp_path / name)
