"""Types and shapes are checked while tests run."""

from collections.abc import Iterable

import numpy as np
import pytest
from jaxtyping import Bool, TypeCheckError

from deixis.errors import did_you_mean
from deixis.metrics.boundaries import frame_score
from deixis.records import MaskRule
from tests.checked import _has_shape


def test_a_value_of_another_type_or_shape_is_an_error() -> None:
    with pytest.raises(TypeCheckError):
        did_you_mean(3, ["three"])  # type: ignore[arg-type]
    with pytest.raises(TypeCheckError):
        MaskRule(threshold="0.5")  # type: ignore[arg-type]
    with pytest.raises(TypeCheckError, match="w=4"):
        frame_score(np.ones((3, 4), bool), np.ones((3, 5), bool))


def test_a_shape_is_found_wherever_it_stands_in_an_annotation() -> None:
    mask = Bool[np.ndarray, "h w"]
    assert all(map(_has_shape, (mask, mask | None, dict[str, tuple[int, mask]], Iterable[mask])))
    assert not any(map(_has_shape, (np.ndarray, int | None, dict[str, list[float]])))
