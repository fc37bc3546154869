"""The order of an epoch: distinct images, as many batches as possible, and other samples in other epochs."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deixis.data.order import EpochOrder
from deixis.records import Ids


def ids_of(sentences: list[int]) -> list[Ids]:
    """An image for each number, with as many objects of one sentence each."""
    return [
        Ids(f"image{image}", f"object{number}", f"sentence{number}")
        for image, count in enumerate(sentences)
        for number in range(count)
    ]


def distinct(sentences: list[int], batch_size: int, seed: int = 0) -> EpochOrder:
    return EpochOrder(
        ids=ids_of(sentences),
        batch_size=batch_size,
        sentences_per_image=1,
        draw="object",
        distinct_images=True,
        seed=seed,
    )


def most_batches(sentences: list[int], batch_size: int) -> int:
    """By filling one batch after another from the images with the most sentences left, which is optimal."""
    left, count = sorted(sentences, reverse=True), 0
    while len(left) >= batch_size and left[batch_size - 1] > 0:
        left = sorted([number - (place < batch_size) for place, number in enumerate(left)], reverse=True)
        count += 1
    return count


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(1, 6), st.integers(0, 3))
def test_batches_of_distinct_images_are_as_many_as_possible(sentences: list[int], size: int, epoch: int) -> None:
    if len(sentences) < size:
        return
    order = distinct(sentences, size)
    assert order.steps == most_batches(sentences, size)
    batches = order.batches(epoch)
    assert batches.shape == (order.steps, size)
    assert len(np.unique(batches)) == batches.size  # no sentence twice in an epoch
    for batch in batches:
        assert len({order.ids[position].image for position in batch}) == size


def test_sentences_that_do_not_fit_one_epoch_are_drawn_in_others() -> None:
    order = distinct([9, 1, 1, 1], 2)  # 3 batches, of which each holds the first image at most once
    assert order.steps == 3
    drawn = [position for epoch in range(40) for position in order.batches(epoch).flatten().tolist()]
    assert set(drawn) == set(range(12))


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    first, again, other = distinct([3] * 10, 5), distinct([3] * 10, 5), distinct([3] * 10, 5, seed=1)
    assert np.array_equal(first.batches(2), again.batches(2))
    assert not np.array_equal(first.batches(2), first.batches(3))
    assert not np.array_equal(first.batches(2), other.batches(2))


def test_each_pair_of_images_meets_about_equally_often_in_a_batch() -> None:
    order, epochs = distinct([1] * 8, 2), 4000
    pairs = Counter(frozenset(batch) for epoch in range(epochs) for batch in order.batches(epoch).tolist())
    assert len(pairs) == 8 * 7 / 2
    assert [count / epochs for count in pairs.values()] == pytest.approx([4 / 28] * 28, abs=0.03)
