"""PLCA's cycles against loops in NumPy."""

import numpy as np
import pytest
import torch

from deixis.adapt.plca import cosines, cycle_loss, divergences, label_smoothing, scores, smoothed

DRAW = torch.Generator().manual_seed(0)


def softmax(rows: np.ndarray) -> np.ndarray:
    weights = np.exp(rows - rows.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def standard(rows: np.ndarray) -> np.ndarray:
    return softmax((rows - rows.mean(1, keepdims=True)) / (rows.std(1, ddof=1, keepdims=True) + 1e-10))


def test_scores_are_softmaxes_of_standardised_rows_without_a_gradient_through_the_moments() -> None:
    similarity = torch.randn(4, 5, generator=DRAW).double()
    np.testing.assert_allclose(scores(similarity), standard(similarity.numpy()))
    row = similarity[:1].clone().requires_grad_()
    picked = torch.randn(5, generator=DRAW).double()
    (scores(row)[0] @ picked).backward()
    p, s = scores(row)[0].detach(), similarity[0].std()
    torch.testing.assert_close(row.grad[0], p * (picked - p @ picked) / (s + 1e-10))  # type: ignore[index]


def test_only_cycles_that_end_in_their_class_count() -> None:
    similarity = torch.randn(6, 7, generator=DRAW).double()
    labels = torch.tensor([True, False, True, False, False, True])
    p, q = standard(similarity.numpy()), standard(similarity.numpy().T)
    terms = []
    for i in range(6):
        j = p[i].argmax()
        end = q[j].argmax()
        if labels[end] == labels[i]:
            terms.append(max(-100, np.log(p[i, j] * q[j, end])))
    assert 0 < len(terms) < 6
    assert cycle_loss(similarity, labels).item() == pytest.approx(-np.mean(terms))


def test_images_without_cells_have_no_cycle() -> None:
    for shape in ((0, 4), (4, 0)):
        none = torch.zeros(shape, requires_grad=True)
        loss = cycle_loss(none, torch.zeros(shape[0], dtype=torch.bool))
        loss.backward()
        assert loss.item() == 0


def test_one_cell_on_each_side_is_a_certain_cycle() -> None:
    assert cycle_loss(torch.tensor([[0.3]]), torch.tensor([True])).item() == 0


def test_rows_are_smoothed_by_half_of_what_resembles_them() -> None:
    rows = torch.randn(5, 3, generator=DRAW).double()
    f = rows.numpy()
    unit = f / np.linalg.norm(f, axis=1, keepdims=True)
    np.testing.assert_allclose(smoothed(rows), f / 2 + standard(unit @ unit.T) @ f / 2)
    np.testing.assert_allclose(cosines(rows, rows), unit @ unit.T)


def test_divergences_are_negative_kullback_leibler() -> None:
    first, second = (torch.rand(n, 2, generator=DRAW).double() for n in (3, 4))
    first, second = (each / each.sum(1, keepdim=True) for each in (first, second))
    expected = [[-sum(p * np.log(p / q)) for q in second.numpy()] for p in first.numpy()]
    np.testing.assert_allclose(divergences(first, second), expected, atol=1e-8)


def test_smoothing_is_the_published_regulariser() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6]]).double()
    ell = -np.log(probabilities.numpy()).mean(1)
    assert label_smoothing(probabilities).item() == pytest.approx(((ell / 10 - 1) * ell).mean())
