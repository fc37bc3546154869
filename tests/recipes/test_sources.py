"""Where Samples come from: the share of sentences about nothing, and packed folders that were drawn otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deixis import masks
from deixis.data.batches import Batches
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError
from deixis.recipes.sources import RefCOCOData, ToylandData
from deixis.records import Reader
from deixis.text.tokenizer import Tokenizer

SMALL = ToylandData(num_scenes=6, validation_scenes=1, size=48, packed=None)


def share_of_an_epoch(reader: Reader) -> float:
    """Of the objects, which an epoch draws one sentence each of."""
    objects = {(ids.image, ids.object) for ids in reader.ids}
    return sum(name.startswith("none") for _, name in objects) / len(objects)


def test_one_and_a_half_sentences_about_nothing_make_about_a_sixth_of_an_epoch() -> None:
    training, held = replace(SMALL, registers=("toyland+",), sentences_per_object=1, no_target=1.5).readers()
    assert 0.12 < share_of_an_epoch(training) < 0.2
    assert share_of_an_epoch(held) == 0.0


def test_batches_hold_the_empty_masks_of_what_is_not_there() -> None:
    training, _ = replace(SMALL, num_scenes=3, registers=("toyland",), no_target=2.0).readers()
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    stream = Batches(
        reader=training, tokenizer=tokenizer, preprocess=Preprocess(image_size=48, max_words=8), batch_size=4
    )
    empty = {
        ids.sentence
        for batch in stream.stream(0, stream.steps_per_epoch)
        for ids, mask in zip(batch.ids, batch.masks if batch.masks is not None else (), strict=True)
        if not mask.any()
    }
    absent = {ids.sentence for ids in training.ids if ids.object.startswith("none")}
    assert len(empty & absent) > 2
    assert all(
        masks.area(training[place].mask) == 0 for place, ids in enumerate(training.ids) if ids.sentence in absent
    )  # type: ignore[arg-type]


def forget(packed: Path, field: str) -> None:
    """As folders were described before the field was noted down."""
    told = packed / "registers.json"
    described = json.loads(told.read_text())
    del described[field]
    told.write_text(json.dumps(described))


def test_a_packed_folder_that_was_drawn_otherwise_is_refused(tmp_path: Path) -> None:
    plain = replace(SMALL, num_scenes=2, registers=("toyland",), packed=str(tmp_path), packers=1)
    first, _ = plain.readers()
    assert plain.readers()[0].ids == first.ids
    with pytest.raises(DeixisError, match=r"drawn with no_target=0, but no_target=1\.5 is wanted; give another"):
        replace(plain, no_target=1.5).readers()
    forget(tmp_path / "train", "extras")
    assert plain.readers()[0].ids == first.ids
    with pytest.raises(DeixisError, match="drawn with no_target=0, but no_target=1 is wanted"):
        replace(plain, no_target=1.0).readers()


def test_a_packed_folder_keeps_what_means_nothing(tmp_path: Path) -> None:
    data = replace(SMALL, num_scenes=3, registers=("toyland",), no_target=1.0, packed=str(tmp_path), packers=1)
    training, _ = data.readers()
    nothing = [training[place] for place, ids in enumerate(training.ids) if ids.object == "none"]
    assert nothing
    assert all(sample.traits["targets"] == [] for sample in nothing)
    with pytest.raises(DeixisError, match="drawn with no_target=1, but no_target=0 is wanted"):
        replace(data, no_target=0.0).readers()


def test_a_packed_folder_of_another_size_or_with_other_sentences_is_refused(tmp_path: Path) -> None:
    plain = replace(SMALL, num_scenes=2, registers=("toyland",), packed=str(tmp_path), packers=1)
    first, _ = plain.readers()
    with pytest.raises(DeixisError, match=r"train was drawn with size=48, but size=32 is wanted; give another --data"):
        replace(plain, size=32).readers()
    both = "drawn with size=48, sentences_per_object=3, but size=32, sentences_per_object=1 is wanted"
    with pytest.raises(DeixisError, match=both):
        replace(plain, size=32, sentences_per_object=1).readers()
    forget(tmp_path / "train", "sentences_per_object")
    assert plain.readers()[0].ids == first.ids
    with pytest.raises(DeixisError, match="train was drawn with size=48, but size=32 is wanted"):
        replace(plain, size=32, sentences_per_object=1).readers()


@pytest.mark.parametrize("limit", [-1, 0])
@pytest.mark.parametrize("data", [ToylandData, RefCOCOData])
def test_validating_on_nothing_is_refused(data: type[ToylandData | RefCOCOData], limit: int) -> None:
    with pytest.raises(DeixisError, match=f"A limit of {limit} expressions"):
        data(validation_limit=limit)


def test_an_impossible_number_of_sentences_about_nothing_is_refused() -> None:
    with pytest.raises(DeixisError, match=r"'no_target' is -0\.5; sentences a scene are wanted"):
        ToylandData(no_target=-0.5)
