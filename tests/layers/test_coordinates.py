"""The place of a cell against a loop."""

import numpy as np
import torch

from deixis.layers.coordinates import coordinates, unit


def test_a_cells_place_is_its_edges_its_centre_and_its_size() -> None:
    found = coordinates(torch.zeros(1, 3, 2, 4)).reshape(2, 4, 8)
    for row in range(2):
        for column in range(4):
            left, right = 2 * column / 4 - 1, 2 * (column + 1) / 4 - 1
            top, bottom = 2 * row / 2 - 1, 2 * (row + 1) / 2 - 1
            place = [left, top, right, bottom, (left + right) / 2, (top + bottom) / 2, 1 / 4, 1 / 2]
            np.testing.assert_allclose(found[row, column], place, atol=1e-7)


def test_a_vector_of_zeros_stays_and_its_gradient_is_bounded() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    lengths = unit(vectors, dim=1)
    assert lengths.tolist() == [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    lengths.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.abs().max() <= 1e6
