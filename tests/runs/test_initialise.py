"""Starting from other weights: what is taken, under which names, and what does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deixis.errors import InputError, ModelError
from deixis.models.sda import SDA, SDAConfig
from deixis.recipes.catalogue import RECIPES
from deixis.runs.initialise import start, start_words
from deixis.runs.run import StartFrom
from deixis.text.gru import GRUConfig
from deixis.vision.i3d import I3D, I3DConfig
from deixis.vision.resnet import ResNet, ResNetConfig


def system() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"fusion": nn.ModuleDict({"vision": nn.Linear(2, 3)}), "head": nn.Linear(3, 1)})


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    tensors = {"vision.weight": torch.ones(3, 2).half(), "vision.bias": torch.ones(3), "other": torch.ones(1)}
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def test_what_is_taken_stands_under_its_new_name_and_the_rest_stays(origin: Path) -> None:
    filled, fresh = system(), system()
    start(filled, StartFrom(checkpoint=str(origin), prefixes={"vision.": "fusion.vision."}))
    weights, untouched = filled.state_dict(), fresh.state_dict()
    assert (weights["fusion.vision.weight"] == 1).all()
    assert (weights["fusion.vision.bias"] == 1).all()
    assert torch.equal(weights["head.weight"], untouched["head.weight"])


def test_another_checkpoints_encoders_stand_in_for_those_of_the_first(tmp_path: Path) -> None:
    first = {name: torch.full_like(tensor, 1.0) for name, tensor in system().state_dict().items()}
    second = {name: torch.full_like(tensor, 2.0) for name, tensor in system().state_dict().items()}
    save_file(first, tmp_path / "first.safetensors")
    save_file(second | {"vote.weight": torch.ones(1)}, tmp_path / "second.safetensors")
    filled = system()
    start(
        filled,
        StartFrom(checkpoint=str(tmp_path / "first.safetensors"), encoders=str(tmp_path / "second.safetensors")),
    )
    means = {name: tensor.mean().item() for name, tensor in filled.state_dict().items()}
    assert means == {"fusion.vision.weight": 2, "fusion.vision.bias": 2, "head.weight": 1, "head.bias": 1}


def test_nothing_to_start_from_changes_nothing() -> None:
    filled = system()
    start(filled, StartFrom())
    assert all(map(torch.equal, filled.state_dict().values(), system().state_dict().values()))


def test_encoders_that_a_recipe_needs_are_asked_for_one_by_one(origin: Path) -> None:
    required = StartFrom(required=True)
    with pytest.raises(
        InputError, match=r"add --start-from\.swin FILE and --start-from\.bert FILE, or --start-from\.r"
    ):
        start(system(), required)
    with pytest.raises(InputError, match=r"not all given; add --start-from\.bert FILE, or"):
        start(system(), replace(required, swin="swin.pth"))
    start(system(), replace(required, checkpoint=str(origin), prefixes={"vision.": "fusion.vision."}))
    for system_name in ("lavt", "magnet", "vega"):
        for data in ("refcoco", "refcoco_plus", "gref_umd", "gref_google"):
            assert RECIPES[f"{system_name}_{data}"]().start_from == required


def test_an_earlier_run_of_the_chain_is_found_by_its_name(origin: Path, tmp_path: Path) -> None:
    (tmp_path / "chain" / "first").mkdir(parents=True)
    (origin / "model.safetensors").rename(tmp_path / "chain" / "first" / "model.safetensors")
    renamed = StartFrom(checkpoint="first", prefixes={"vision.": "fusion.vision."})
    filled = system()
    start(filled, renamed, {"first": tmp_path / "chain" / "first"})
    assert (filled.state_dict()["fusion.vision.weight"] == 1).all()
    with pytest.raises(InputError, match="There is no model 'first'"):
        start(filled, renamed)


def test_a_system_without_the_encoder_refuses_its_file(origin: Path) -> None:
    with pytest.raises(InputError, match=r"ModuleDict has no Swin that swin\.pth could fill; omit that file"):
        start(system(), StartFrom(swin="swin.pth"))


def test_what_does_not_fit_is_named(origin: Path, tmp_path: Path) -> None:
    wrong = {
        "There is no model": StartFrom(checkpoint=str(origin / "absent")),
        r"no weights that match \['text.\*', 'fusion.vision.\*'\]": StartFrom(encoders=str(origin)),
        "no weights that begin with 'visoin.'": StartFrom(checkpoint=str(origin), prefixes={"visoin.": ""}),
        "'other', which the system does not have": StartFrom(checkpoint=str(origin), patterns=("other",)),
        r"'head.weight' of shape \[3, 2\], but the system expects \[1, 3\]": StartFrom(
            checkpoint=str(origin), prefixes={"vision.w": "head.w"}
        ),
    }
    for sentence, origin_of in wrong.items():
        with pytest.raises(InputError, match=sentence):
            start(system(), origin_of)
    broken = {"vision.weight": torch.ones(3, 2), "vision.bias": torch.full((3,), float("nan"))}
    save_file(broken, tmp_path / "nan.safetensors")
    with pytest.raises(
        ModelError, match=r"nan\.safetensors has a weight 'fusion\.vision\.bias' with values that are not"
    ):
        start(system(), StartFrom(checkpoint=str(tmp_path / "nan.safetensors"), prefixes={"vision.": "fusion.vision."}))
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="is not a safetensors file"):
        start(system(), StartFrom(checkpoint=str(tmp_path / "broken.safetensors")))


WORDS = ("[PAD]", "[UNK]", "red", "cup")


def sda(*, glove: bool) -> SDA:
    torch.manual_seed(0)
    vision = ResNetConfig(depths=(1, 1, 1, 1), width=4)
    text = GRUConfig(vocabulary=6, embedding=2, width=4, glove=glove)
    return SDA(SDAConfig(vision=vision, text=text, width=4, decoder_width=4, regions=4))


@pytest.fixture
def glove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DEIXIS_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "glove.2d.txt"
    file.write_text("red 1 2\ncup 3 4\n")
    return str(file)


def test_a_resnet_and_word_vectors_start_from_published_files(tmp_path: Path, glove: str) -> None:
    torch.manual_seed(1)
    published = ResNet(ResNetConfig(depths=(1, 1, 1, 1), width=4))
    torch.save(published.state_dict(), tmp_path / "resnet.pth")
    system, origin = sda(glove=True), StartFrom(resnet=str(tmp_path / "resnet.pth"), glove=glove)
    start(system, origin)
    start_words(system, origin, WORDS)
    filled = system.vision.state_dict()
    assert all(torch.equal(filled[name], tensor) for name, tensor in published.state_dict().items())
    assert system.text.words.weight[:4].tolist() == [[0, 0], [2, 3], [1, 2], [3, 4]]
    assert (tmp_path / "cache" / "glove").is_dir()


def test_a_system_without_a_part_for_the_file_is_an_error(glove: str) -> None:
    for origin in (StartFrom(resnet=glove), StartFrom(glove=glove)):
        with pytest.raises(InputError, match=r"ModuleDict has no (ResNet|WordTable) that .* could fill"):
            start(system(), origin)


def test_without_a_glove_file_a_fixed_table_is_an_error_and_a_trained_one_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(InputError, match=r"none is given; add --start-from.glove FILE"):
        start_words(sda(glove=True), StartFrom(), WORDS)
    start_words(sda(glove=True), StartFrom(checkpoint="earlier"), WORDS)  # which has filled it
    assert not caplog.records
    start_words(sda(glove=False), StartFrom(), WORDS)
    assert "No GloVe file is given" in caplog.text


def test_frozen_batch_norms_without_published_statistics_are_an_error() -> None:
    with pytest.raises(InputError, match=r"batch norms are frozen, .*--start-from.resnet FILE"):
        start(sda(glove=False), StartFrom())


def test_i3d_is_filled_from_a_published_file_and_its_frozen_norms_need_one(tmp_path: Path) -> None:
    small = SDAConfig(vision=I3DConfig(width=4), text=GRUConfig(vocabulary=5, embedding=4, width=4), width=4)
    torch.manual_seed(0)
    theirs = I3D(small.vision)  # type: ignore[arg-type]
    torch.save(theirs.state_dict(), tmp_path / "rgb.pt")
    filled = SDA(small)
    start(filled, StartFrom(i3d=str(tmp_path / "rgb.pt")))
    assert torch.equal(filled.vision.Mixed_5c.b0.conv3d.weight, theirs.Mixed_5c.b0.conv3d.weight)  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"The I3D's batch norms are frozen.*--start-from\.i3d FILE"):
        start(SDA(small), StartFrom())
    with pytest.raises(InputError, match=r"SDA has no I3D that rgb\.pt could fill"):
        start(SDA(replace(small, vision=ResNetConfig(depths=(1, 1, 1, 1), width=4))), StartFrom(i3d="rgb.pt"))
