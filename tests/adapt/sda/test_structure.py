"""The categories of both domains in a file, their lookup, and the labels of images (Appendix B.2)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deixis.adapt.sda.structure import UNKNOWN, CategoryLookup, SemanticStructure, image_keys, keys_of
from deixis.batch import Batch
from deixis.errors import InputError
from deixis.records import Ids

STRUCTURE = SemanticStructure(
    source_keys=keys_of(["a", "b", "c"]),
    source_labels=np.array([0, 1, 0]),
    target_keys=keys_of(["d", "e", "f", "g"]),
    target_labels=np.array([1, 3, 1, 2]),
    target_images=keys_of(["first", "first", "second", "second"]),
    num_source=2,
    num_new=2,
    common=(1,),
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    STRUCTURE.save(tmp_path)
    loaded = SemanticStructure.load(tmp_path)
    for name, value in vars(STRUCTURE).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)


@pytest.mark.parametrize("content", [None, b"", b"{}" * 20])
def test_a_folder_without_categories_is_one_sentence(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "categories.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="does not hold the categories"):
        SemanticStructure.load(tmp_path)


def test_an_image_has_the_categories_of_all_of_its_expressions() -> None:
    images, categories, labels = STRUCTURE.image_labels()
    assert categories.tolist() == [1, 2, 3]  # k^t + k^u: category 0 is on the source alone
    expected = {"first": [True, False, True], "second": [True, True, False]}
    for name, row in expected.items():
        assert labels[images == keys_of([name])[0]].tolist() == [row]


def test_the_lookup_finds_each_key_and_no_other() -> None:
    lookup = CategoryLookup()
    assert lookup(torch.tensor([5])).tolist() == [UNKNOWN]
    lookup.fill(STRUCTURE.target_keys, STRUCTURE.target_labels)
    asked = torch.tensor(keys_of(["g", "x", "e", "d"]))
    assert lookup(asked).tolist() == [2, UNKNOWN, 3, 1]


def test_keys_do_not_change_between_processes() -> None:
    assert keys_of(["an image"]).tolist() == [531554307229552878]


def test_each_frame_of_a_clip_is_an_image_of_its_own() -> None:
    ids = tuple(Ids("clip", "dog", sentence) for sentence in ("a at 3", "b at 3", "a at 0"))
    ones = torch.ones(3, 1, dtype=torch.long)
    batch = Batch(images=torch.zeros(3, 2, 3, 4, 4), token_ids=ones, token_mask=ones > 0, ids=ids, positions=(3, 3, 0))
    first, second, third = image_keys(batch).tolist()
    assert first == second != third
    assert third == int(keys_of(["clip"])[0])
