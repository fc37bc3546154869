"""Pre-training: classes stand where the things stand, and the file it writes fits the systems' encoder."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deixis.recipes.parsing import ATTRIBUTES, Parsed, Pretraining, pretrain
from deixis.toyland.packed import NOTHING, PackedToyland, pack
from deixis.toyland.world import Toyland
from deixis.vision.swin import Swin, SwinConfig

VISION = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0, coordinates=True)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "train"
    pack(folder, [Toyland(num_scenes=3, size=64, sentences_per_object=1)])
    return folder


def test_a_patch_has_the_classes_of_the_thing_seen_at_its_middle(packed: Path) -> None:
    scenes = PackedToyland(packed)
    maps = Parsed(scenes, side=64).classes(0)
    things, owner = scenes.things(0), scenes.instances(0)
    for y in range(16):
        for x in range(16):
            place = int(owner[4 * y + 2, 4 * x + 2])
            for name, values in ATTRIBUTES.items():
                expected = 0 if place == NOTHING else 1 + values.index(things[place][name])
                assert maps[name][y, x] == expected


def test_no_picture_is_mirrored(packed: Path) -> None:
    data = Parsed(PackedToyland(packed), side=64)
    plain = data.preprocess.image(data.scenes.pixels(1))
    for seed in range(12):
        torch.manual_seed(seed)
        image, maps = data[1]
        assert torch.equal(image, plain)
        assert torch.equal(maps["kind"], data.classes(1)["kind"])


def test_what_pre_training_writes_fits_the_encoder_of_a_system(packed: Path, tmp_path: Path) -> None:
    told: list[int] = []
    settings = Pretraining(vision=VISION, steps=3, batch_size=2, side=32)
    file = pretrain(settings, packed, tmp_path / "out", lambda step, numbers: told.append(step))
    weights = {name.removeprefix("vision."): tensor for name, tensor in load_file(file).items()}
    Swin(VISION).load_state_dict(weights, strict=True)
    assert told == [3]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["vision.safetensors"]
