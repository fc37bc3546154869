"""Packed folders: their Samples are those of the world, and folders of earlier versions are readable."""

import json
import pickle
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from deixis import masks
from deixis.errors import DeixisError
from deixis.toyland.export.packing import pack
from deixis.toyland.language.expressions import ExpressionOptions
from deixis.toyland.packed import ARRAYS, BACKGROUND, PackedToyland
from deixis.toyland.world import Toyland

OPTIONS = ExpressionOptions(no_target=1.0)


def world(subset: str = "toyland", options: ExpressionOptions = OPTIONS) -> Toyland:
    return Toyland(subset=subset, num_scenes=3, size=48, expression_options=options)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "train"
    pack(path, [world(), world("toyland-g")])
    return path


def test_packed_samples_are_the_worlds_samples(packed: Path) -> None:
    for subset in ("toyland", "toyland-g"):
        plain, reader = world(subset), PackedToyland(packed, [subset])
        assert len(reader) == len(plain)
        assert reader.ids == plain.ids
        for position in range(0, len(plain), 5):
            one, two = reader[position], plain[position]
            assert (one.expression, one.mask, one.ids, one.split) == (two.expression, two.mask, two.ids, two.split)
            assert (one.dataset, one.traits) == (two.dataset, two.traits)
            np.testing.assert_array_equal(one.visual.read(), two.visual.read())
    assert len(PackedToyland(packed)) == sum(len(world(name)) for name in ("toyland", "toyland-g"))


def test_packed_instances_are_positions_in_the_list_of_things(packed: Path) -> None:
    reader, plain = PackedToyland(packed), world()
    for position in range(reader.num_scenes):
        drawn = plain.drawn(position)
        assert reader.seed(position) == drawn.seed
        assert [thing["kind"] for thing in reader.things(position)] == [thing.kind for thing in drawn.scene().things]
        for index, mask in enumerate(drawn.image().masks):
            np.testing.assert_array_equal(reader.instances(position) == index, mask)
        np.testing.assert_array_equal(reader.instances(position) == BACKGROUND, ~drawn.image().masks.any(axis=0))
        np.testing.assert_array_equal(reader.pixels(position), drawn.image().pixels)


def test_a_packed_visual_can_be_sent_to_workers(packed: Path) -> None:
    sample = PackedToyland(packed)[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sample.visual)).read(), sample.visual.read())


def test_invalid_folders_subsets_and_positions_are_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match=r"lacks pixels\.npy.*packed\.json"):
        PackedToyland(tmp_path)
    with pytest.raises(DeixisError, match="no subset 'toyland\\+'"):
        PackedToyland(packed, ["toyland+"])
    with pytest.raises(IndexError, match="Sample 10000 does not exist"):
        PackedToyland(packed)[10_000]


def test_expressions_without_referent_stay_empty_and_their_number_is_stored(packed: Path, tmp_path: Path) -> None:
    options = ExpressionOptions(no_target=2.0)
    plain = world(options=options)
    pack(tmp_path / "none", [plain])
    reader = PackedToyland(tmp_path / "none")
    assert reader.expression_options == options
    nothing = [sample for scene in reader.scenes() for sample in scene if not sample.traits["targets"]]
    assert len(nothing) > 3
    assert [sample.ids for scene in reader.scenes() for sample in scene] == list(plain.ids)
    assert all(sample.mask is not None and masks.area(sample.mask) == 0 for sample in nothing)


def with_old_names(packed: Path, folder: Path) -> Path:
    """The folder as earlier versions wrote it, with `register` for subset and `extras` for expression options."""
    copytree(packed, folder)
    description = json.loads((folder / "packed.json").read_text())
    description["registers"] = description.pop("subsets")
    description["extras"] = description.pop("expression_options")
    (folder / "packed.json").unlink()
    (folder / "registers.json").write_text(json.dumps(description))
    lines = []
    for line in (folder / "scenes.jsonl").read_text().splitlines():
        scene = json.loads(line)
        for expression in scene["expressions"]:
            traits = expression["traits"]
            traits["register"], traits["is_rough"] = traits.pop("subset"), traits.pop("is_noisy")
        lines.append((json.dumps(scene) + "\n").encode())
    (folder / "scenes.jsonl").write_bytes(b"".join(lines))
    np.save(folder / "lines.npy", np.cumsum([0, *map(len, lines)]))
    return folder


def test_folders_of_earlier_versions_are_readable(packed: Path, tmp_path: Path) -> None:
    old = with_old_names(packed, tmp_path / "old")
    assert {path.name for path in old.iterdir()} == {*ARRAYS, "registers.json"}
    for subsets in (None, ["toyland-g"]):
        reader, now = PackedToyland(old, subsets), PackedToyland(packed, subsets)
        assert (reader.subsets, reader.expression_options) == (now.subsets, OPTIONS)
        assert reader.ids == now.ids
        for position in range(0, len(now), 7):
            assert reader[position].traits == now[position].traits
            assert reader[position].dataset == now[position].dataset
            assert reader[position].mask == now[position].mask


def test_the_oldest_folders_have_neither_options_nor_the_number_of_sentences(packed: Path, tmp_path: Path) -> None:
    reader = PackedToyland(packed)
    assert (reader.size, reader.sentences_per_object) == (48, 3)
    old = with_old_names(packed, tmp_path / "oldest")
    description = json.loads((old / "registers.json").read_text())
    del description["extras"], description["sentences_per_object"]
    (old / "registers.json").write_text(json.dumps(description))
    oldest = PackedToyland(old)
    assert (oldest.size, oldest.sentences_per_object) == (48, None)
    assert oldest.expression_options == ExpressionOptions()
