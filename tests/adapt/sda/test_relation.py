"""Eq. 6 against NumPy, and the three sets of pixels."""

import numpy as np
import pytest
import torch

from deixis.adapt.sda.relation import RelationScore, hierarchy, relation_loss


def test_the_sets_are_intersection_union_and_the_rest_without_ignored_pixels() -> None:
    # In turn: both masks, A alone, Ā alone, A ignores and Ā holds, A ignores, background.
    foreground = torch.tensor([[True, True, False, False, False, False]])
    background = torch.tensor([[False, False, True, False, False, True]])
    semantic = torch.tensor([[True, False, True, True, False, False]])
    instance, category, rest = hierarchy(foreground, background, semantic)
    assert instance.tolist() == [[True, False, False, False, False, False]]
    assert category.tolist() == [[True, True, True, True, False, False]]
    assert rest.tolist() == [[False, False, False, False, False, True]]


def test_scores_are_scaled_products_of_projections() -> None:
    torch.manual_seed(0)
    score = RelationScore(4, 5, width=9)
    q, v = torch.randn(4), torch.randn(3, 5)
    A, B = score.query.weight.detach().numpy(), score.pixel.weight.detach().numpy()
    expected = [(A @ q.numpy()) @ (B @ row) / 3 for row in v.numpy()]
    np.testing.assert_allclose(score(q, v).detach(), expected, rtol=1e-5)


def test_the_loss_is_the_negative_of_equation_6() -> None:
    positive, negative = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.0, -0.3])
    p, n = positive.double().numpy(), negative.double().numpy()
    literal = -(np.log1p(np.exp(p)).mean() - np.log1p(np.exp(n)).mean())
    assert relation_loss(positive, negative, "literal").item() == pytest.approx(literal, rel=1e-5)
    bounded = np.log1p(np.exp(-p)).mean() + np.log1p(np.exp(n)).mean()
    assert relation_loss(positive, negative).item() == pytest.approx(bounded, rel=1e-5)


def test_only_the_default_form_is_bounded() -> None:
    far = torch.tensor([100.0])
    assert relation_loss(far, -far).item() == pytest.approx(0)
    assert relation_loss(far, -far, "literal").item() == pytest.approx(-100)


def test_an_empty_set_gives_zero_with_a_gradient() -> None:
    scores = torch.tensor([1.0, 2.0], requires_grad=True)
    for loss in (relation_loss(scores, scores[:0]), relation_loss(scores[:0], scores)):
        loss.backward()
        assert loss.item() == 0
