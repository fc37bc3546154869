"""Questions about several images in one pass give the answers of each alone."""

import numpy as np
import pytest

from deixis.errors import InputError
from deixis.predict.together import ask_together, can_share_a_pass
from tests.predict.test_segmenter import ColourSystem, LateColours, photo, segmenter

ASKED = (((60, 90), ["the red thing", "blue"], False), ((40, 30), ["green"], True))


def test_several_images_share_a_pass_and_keep_their_answers() -> None:
    system = ColourSystem()
    one = segmenter(system)
    alone = [one.encode(photo(*size))(sentences, explain=explain) for size, sentences, explain in ASKED]
    encoded = [one.encode(photo(*size)) for size, _, _ in ASKED]
    asked = [
        (each, each.question(words, explain=explain)) for each, (_, words, explain) in zip(encoded, ASKED, strict=True)
    ]
    assert can_share_a_pass(asked)
    system.batches.clear()
    together = [list(predictions) for predictions in ask_together(asked)]
    assert system.batches == [(2, 3)]
    for expected, found in zip(alone, together, strict=True):
        for before, after in zip(expected, found, strict=True):
            np.testing.assert_allclose(after.probability, before.probability, atol=1e-6)
            assert (after.expression, after.box, after.notes) == (before.expression, before.box, before.notes)
            assert set(after.evidence) == set(before.evidence)


def test_too_many_expressions_or_a_vision_half_of_its_own_do_not_share_a_pass() -> None:
    one = segmenter(ColourSystem()).encode(photo())
    many = (one, one.question(["red"] * one.segmenter.largest_batch))
    assert can_share_a_pass([many])
    assert not can_share_a_pass([many, (one, one.question("blue"))])
    late = segmenter(LateColours()).encode(photo())
    assert not can_share_a_pass([(late, late.question("red"))])


def test_a_question_is_checked_when_it_is_made() -> None:
    with pytest.raises(InputError, match="empty"):
        segmenter().encode(photo()).question(" ")
