"""Batches: what is shared, what an epoch holds, and that a step's batch depends on nothing but the step."""

import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deixis import masks
from deixis.batch import Batch
from deixis.data.batches import Batches, InOrder, collate
from deixis.data.images import ImageArray
from deixis.data.subsets import Concat
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError
from deixis.records import Sample

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "training" / "tiny.py")))
PREPROCESS = Preprocess(image_size=12, max_tokens=5)


NAMES = ("images", "token_ids", "token_mask", "masks")


def same(first: Batch, second: Batch) -> bool:
    tensors = all(torch.equal(getattr(first, name), getattr(second, name)) for name in NAMES)
    return tensors and first.ids == second.ids


def test_sentences_of_one_image_share_it() -> None:
    reader = tiny.Squares(2)
    batch = collate([reader[0], reader[7], reader[3]], tiny.Letters(), PREPROCESS)
    assert batch.images.shape == (2, 1, 3, 12, 12)
    assert batch.image_index is not None
    assert batch.image_index.tolist() == [0, 1, 0]
    assert batch.token_ids.tolist() == [[2, 0], [1, 2], [1, 3]]
    assert batch.token_mask.tolist() == [[True, False], [True, True], [True, True]]
    assert batch.expressions == ("red", "the red", "the green")
    assert batch.sizes == ((12, 12),) * 3
    assert batch.masks is not None
    for mask, position in zip(batch.masks, (0, 7, 3), strict=True):
        np.testing.assert_array_equal(mask.numpy(), masks.decode(reader[position].mask))
    third = batch.expand(batch.images)[2, 0].numpy()
    np.testing.assert_array_equal(PREPROCESS.pixels(third), reader[3].visual.read()[0])


def test_expressions_with_their_own_images_need_no_index() -> None:
    reader = tiny.Squares(2)
    assert collate([reader[0], reader[6]], tiny.Letters(), PREPROCESS).image_index is None


def test_a_batch_with_an_unlabelled_sample_has_no_masks() -> None:
    reader = tiny.Squares(2)
    assert collate([reader[0], replace(reader[1], mask=None)], tiny.Letters(), PREPROCESS).masks is None


def test_a_mask_of_another_size_is_refused_with_the_samples_name() -> None:
    wrong = replace(tiny.Squares(1)[0], visual=ImageArray(np.zeros((9, 12, 3), dtype=np.uint8)))
    with pytest.raises(DeixisError, match=r"image0.*is 12x12, but its image is 9x12"):
        collate([wrong], tiny.Letters(), PREPROCESS)


def make(**changes: int | bool) -> Batches:
    settings = {"batch_size": 6, "sentences_per_image": 3} | changes
    return Batches(reader=tiny.Squares(8), tokenizer=tiny.Letters(), preprocess=PREPROCESS, **settings)  # type: ignore[arg-type]


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
    batches = make(every_sentence=True)
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
    with pytest.raises(DeixisError, match="6 cannot be shared equally by 4 processes with 1 parts"):
        make().stream(0, 1, ranks=4)


def test_workers_change_nothing() -> None:
    assert all(map(same, make(workers=1).stream(0, 3), make().stream(0, 3)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_readers_error_is_the_same_sentence_from_a_worker(workers: int) -> None:
    class Broken(tiny.Squares):
        def __getitem__(self, position: int) -> Sample:
            raise DeixisError("photo.jpg is broken; get a whole copy of it.")

    batches = replace(make(workers=workers), reader=Broken(8))
    with pytest.raises(DeixisError) as error:
        next(batches.stream(0, 1))
    assert str(error.value) == "photo.jpg is broken; get a whole copy of it."


def test_an_epoch_without_a_whole_batch_is_refused() -> None:
    with pytest.raises(DeixisError, match="24 expressions, too few for one batch of 25"):
        make(batch_size=25)
    with pytest.raises(DeixisError, match="cannot be made"):
        make(batch_size=0)


def test_scoring_goes_through_everything_once_in_order() -> None:
    order = InOrder(reader=tiny.Squares(2), tokenizer=tiny.Letters(), preprocess=PREPROCESS, batch_size=5)
    assert tuple(ids for batch in order.share() for ids in batch.ids) == tiny.Squares(2).ids
    shares = [list(order.share(rank, 2)) for rank in range(2)]
    assert [[len(batch) for batch in share] for share in shares] == [[5, 2], [5]]
    few = replace(order, limit=4)
    assert [ids.image for batch in few.share() for ids in batch.ids] == ["image0", "image0", "image1", "image1"]


@pytest.mark.parametrize("limit", [-1, 0])
def test_scoring_nothing_is_refused(limit: int) -> None:
    with pytest.raises(DeixisError, match=f"A limit of {limit} expressions leaves none to score; give 1 or more"):
        InOrder(reader=tiny.Squares(2), tokenizer=tiny.Letters(), preprocess=PREPROCESS, batch_size=5, limit=limit)


def test_readers_joined_are_one_reader() -> None:
    joined = Concat((tiny.Squares(1), tiny.Squares(2)))
    assert len(joined) == 18 == len(joined.ids)
    for position in (0, 5, 6, 17):
        assert joined[position].ids == joined.ids[position]
    with pytest.raises(IndexError):
        joined[18]
