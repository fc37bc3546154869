"""Compilers that give wrong gradients are refused."""

from pathlib import Path

import pytest
import torch
from torch.torch_version import TorchVersion

from deixis.cli import main
from deixis.compiling import check_compiler, compile_once
from deixis.errors import ModelError
from deixis.kernels import windows
from deixis.layers.decoders import ConvolutionalDecoder
from deixis.vision.swin import Swin, SwinConfig


@pytest.mark.parametrize("version", ["2.6.0+cu124", "2.10.1", "2.9.0a0+git"])
def test_an_old_compiler_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    with pytest.raises(ModelError, match=rf"PyTorch is {version[:4]}.* needs 2\.11 or later"):
        compile_once(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("version", ["2.11.0", "2.13.0+cpu", "3.0"])
def test_later_compilers_are_not_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    check_compiler()


def test_a_run_that_could_not_compile_takes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.6.0"))
    assert main(["train", "vega-toyland", "--compiled", "True", "--out", str(tmp_path / "run")]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("deixis: PyTorch is 2.6.0")
    assert complaint.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_functions_of_their_arguments_alone_are_marked_when_something_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marked: list[object] = []
    monkeypatch.setattr(torch.compiler, "assume_constant_result", marked.append)
    compile_once(torch.nn.Linear(2, 2))
    assert {windows.layout, windows.relative_positions} <= set(marked)


def test_a_network_that_is_exported_first_predicts_the_same_afterwards() -> None:
    """Constants that are cached while a graph is traced have values, not the tracer's stand-ins."""
    torch.manual_seed(0)
    config = SwinConfig(embed_dim=8, depths=(1, 1, 2, 1), heads=(1, 1, 2, 2), window=5, drop_path=0.0)
    network = Decoded(config).eval().requires_grad_(False)
    images = torch.randn(2, 3, 48, 56)  # of a size that no other test has
    batch = torch.export.Dim("batch", min=1, max=8)
    exported = torch.export.export(network, (images,), dynamic_shapes=({0: batch},)).module()
    eager = network(images)
    assert torch.isfinite(eager).all()
    torch.testing.assert_close(exported(images), eager)
    torch.testing.assert_close(exported(images[:1]), eager[:1])


class Decoded(torch.nn.Module):
    """A Swin and LAVT's decoder, which need cached constants."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.vision = Swin(config)
        self.decoder = ConvolutionalDecoder(self.vision.widths, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.vision(images))
