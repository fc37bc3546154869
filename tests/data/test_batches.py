"""Streams of batches: what an epoch holds, that a step's batch depends on the step alone, and pairs of domains."""

import itertools
import runpy
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deixis.batch import Batch
from deixis.data.batches import EvalBatches, PairedBatches, TrainBatches
from deixis.data.subsets import Concat
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError, InputError, ModelError
from deixis.records import Sample

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "training" / "tiny.py")))
PREPROCESS = Preprocess(image_size=12, max_tokens=5)


NAMES = ("images", "token_ids", "token_mask", "masks")


def same(first: Batch, second: Batch) -> bool:
    tensors = all(torch.equal(getattr(first, name), getattr(second, name)) for name in NAMES)
    return tensors and first.ids == second.ids


def make(**changes: Any) -> TrainBatches:
    settings = {"batch_size": 6, "sentences_per_image": 3} | changes
    return TrainBatches(reader=tiny.Squares(8), tokenizer=tiny.Letters(), preprocess=PREPROCESS, **settings)


def test_an_epoch_draws_one_sentence_of_every_object() -> None:
    batches = make()
    assert batches.steps_per_epoch == 4
    drawn = [ids for batch in batches.stream(0, 4) for ids in batch.ids]
    assert Counter((ids.image, ids.object) for ids in drawn) == Counter(
        {(f"image{image}", f"thing{thing}"): 1 for image in range(8) for thing in range(3)}
    )
    again = [ids for batch in batches.stream(4, 8) for ids in batch.ids]
    assert {ids.sentence for ids in drawn} == {"sentence0", "sentence1"}
    assert again != drawn


def test_an_epoch_of_every_sentence_has_them_all_once() -> None:
    batches = make(draw="sentence")
    assert batches.steps_per_epoch == 8
    drawn = [ids for batch in batches.stream(8, 16) for ids in batch.ids]
    assert sorted(map(str, drawn)) == sorted(map(str, tiny.Squares(8).ids))


def test_sentences_of_an_image_stand_together() -> None:
    for batch in make().stream(0, 4):
        assert len(batch.images) == 2
    lonely = make(sentences_per_image=1)
    assert sum(len(batch.images) for batch in lonely.stream(0, 4)) > 12


def test_a_batch_depends_on_its_step_alone() -> None:
    batches = make()
    whole = list(batches.stream(0, 10))
    for start in (1, 5, 9):
        assert all(map(same, batches.stream(start, 10), whole[start:]))
    other = list(make(seed=1).stream(0, 10))
    assert not any(map(same, other, whole))


def test_processes_and_parts_share_a_batch_without_overlap() -> None:
    batches = make()
    whole = next(batches.stream(2, 3))
    shares = [list(batches.stream(2, 3, rank=rank, ranks=2, parts=3)) for rank in range(2)]
    assert [len(share) for share in shares] == [3, 3]
    ids = [ids for part in range(3) for share in shares for ids in share[part].ids]
    assert tuple(ids) == whole.ids


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(InputError, match="6 cannot be shared equally by 4 processes with 1 parts"):
        make().stream(0, 1, ranks=4)


UNFINISHED = """
from deixis.data.batches import load_samples

if __name__ == "__main__":
    loaded = load_samples(range(9), [[number] for number in range(9)], list, workers=1)
    assert next(loaded) == [0]
    kept = [loaded]
    kept.append(kept)  # a cycle, as exceptions make them
"""


def test_workers_change_nothing() -> None:
    assert all(map(same, make(workers=1).stream(0, 3), make().stream(0, 3)))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [InputError, ModelError])
def test_a_readers_error_is_the_same_sentence_from_a_worker(workers: int, kind: type[DeixisError]) -> None:
    class Broken(tiny.Squares):
        def __getitem__(self, position: int) -> Sample:
            raise kind("photo.jpg is broken; get a complete copy of it.")

    batches = replace(make(workers=workers), reader=Broken(8))
    with pytest.raises(kind) as error:
        next(batches.stream(0, 1))
    assert str(error.value) == "photo.jpg is broken; get a complete copy of it."


def test_workers_end_with_the_program_also_where_an_error_keeps_them_alive(tmp_path: Path) -> None:
    """Python waits at exit for workers, which ignore the signal that should stop them."""
    script = tmp_path / "broken.py"
    script.write_text(UNFINISHED)
    subprocess.run([sys.executable, str(script)], check=True, timeout=60)


def test_an_epoch_without_a_whole_batch_is_refused() -> None:
    with pytest.raises(InputError, match="24 expressions, too few for one batch of 25"):
        make(batch_size=25)
    with pytest.raises(InputError, match="The batch size is 0"):
        make(batch_size=0)


def test_scoring_goes_through_everything_once_in_order() -> None:
    order = EvalBatches(reader=tiny.Squares(2), tokenizer=tiny.Letters(), preprocess=PREPROCESS, batch_size=5)
    assert tuple(ids for batch in order.share() for ids in batch.ids) == tiny.Squares(2).ids
    shares = [list(order.share(rank, 2)) for rank in range(2)]
    assert [[len(batch) for batch in share] for share in shares] == [[5, 2], [5]]
    few = replace(order, limit=4)
    assert [ids.image for batch in few.share() for ids in batch.ids] == ["image0", "image0", "image1", "image1"]


@pytest.mark.parametrize("limit", [-1, 0])
def test_scoring_nothing_is_refused(limit: int) -> None:
    with pytest.raises(InputError, match=f"A limit of {limit} expressions leaves none to score; give 1 or more"):
        EvalBatches(reader=tiny.Squares(2), tokenizer=tiny.Letters(), preprocess=PREPROCESS, batch_size=5, limit=limit)


def test_readers_joined_are_one_reader() -> None:
    joined = Concat((tiny.Squares(1), tiny.Squares(2)))
    assert len(joined) == 18 == len(joined.ids)
    for position in (0, 5, 6, 17):
        assert joined[position].ids == joined.ids[position]
    with pytest.raises(IndexError):
        joined[18]


@pytest.mark.parametrize("draw", ["object", "sentence", "image"])
def test_what_an_epoch_draws_one_sentence_of(draw: str) -> None:
    batches = make(draw=draw, batch_size=4)
    drawn = [ids for batch in batches.stream(0, batches.steps_per_epoch) for ids in batch.ids]
    keys = {
        "object": lambda ids: (ids.image, ids.object),
        "sentence": lambda ids: ids,
        "image": lambda ids: ids.image,
    }
    expected = {keys[draw](ids) for ids in tiny.Squares(8).ids}
    assert Counter(map(keys[draw], drawn)) == dict.fromkeys(expected, 1)


@pytest.mark.parametrize("draw", ["object", "sentence", "image"])
def test_distinct_images_are_distinct_over_the_processes_and_parts_of_a_step(draw: str) -> None:
    batches = make(draw=draw, distinct_images=True, sentences_per_image=1, batch_size=4)
    shares = [list(batches.stream(0, 12, rank=rank, ranks=2, parts=2)) for rank in range(2)]
    for step in range(12):
        ids = [each for share in shares for part in share[2 * step : 2 * step + 2] for each in part.ids]
        assert len({each.image for each in ids}) == len(ids) == 4


def test_fewer_images_than_a_batch_of_distinct_ones_are_refused_with_both_numbers() -> None:
    with pytest.raises(InputError, match=r"A batch of 9 distinct images .* only 8 images"):
        make(distinct_images=True, sentences_per_image=1, batch_size=9)
    with pytest.raises(InputError, match="cannot hold 3 sentences of each image"):
        make(distinct_images=True)


def test_without_labels_no_mask_is_touched() -> None:
    class Untouchable(Sample):
        """Any look at its mask fails."""

        def __getattribute__(self, name: str) -> Any:
            assert name != "mask"
            return super().__getattribute__(name)

    class Secret(tiny.Squares):
        def __getitem__(self, position: int) -> Sample:
            return Untouchable(**vars(super().__getitem__(position)))

    batches = replace(make(), reader=Secret(8))
    assert next(replace(batches, labels="none").stream(0, 1)).masks is None
    with pytest.raises(AssertionError):
        next(batches.stream(0, 1))


def test_pairs_are_the_batches_of_both_domains_at_each_step() -> None:
    source, target = make(), replace(make(seed=5, batch_size=4, labels="none"), reader=tiny.Squares(3))
    pairs = PairedBatches(source, target)
    assert (source.steps_per_epoch, target.steps_per_epoch, pairs.steps_per_epoch) == (4, 2, 4)
    whole = list(pairs.stream(0, 9))
    for pair, one, other in zip(whole, source.stream(0, 9), target.stream(0, 9), strict=True):
        assert same(pair.source, one)
        assert pair.target.ids == other.ids
        assert pair.target.masks is None
    for start in (1, 4, 8):
        resumed = list(pairs.stream(start, 9))
        assert [pair.source.ids for pair in resumed] == [pair.source.ids for pair in whole[start:]]
        assert [pair.target.ids for pair in resumed] == [pair.target.ids for pair in whole[start:]]


def test_the_domains_of_pairs_are_every_sentence_in_order_as_often_as_they_are_read() -> None:
    source, target = make(), replace(make(seed=5, batch_size=4, labels="none"), reader=tiny.Squares(3))
    domains = PairedBatches(source, target).domains()
    for _ in range(2):
        assert tuple(ids for batch in domains.source for ids in batch.ids) == tiny.Squares(8).ids
        assert tuple(ids for batch in domains.target for ids in batch.ids) == tiny.Squares(3).ids
    assert all(batch.masks is not None for batch in domains.source)
    assert all(batch.masks is None for batch in domains.target)
    assert next(iter(domains.to("meta").target)).images.device.type == "meta"


def test_processes_share_each_half_of_a_pair() -> None:
    pairs = PairedBatches(make(), make(seed=5, batch_size=4))
    (whole,) = pairs.stream(3, 4)
    shares = [next(pairs.stream(3, 4, rank=rank, ranks=2)) for rank in range(2)]
    for half in ("source", "target"):
        parts = [getattr(share, half).ids for share in shares]
        assert tuple(itertools.chain(*parts)) == getattr(whole, half).ids
