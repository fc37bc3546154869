"""Eqs. 1, 3 and 11 against NumPy written from the paper."""

import numpy as np
import pytest
import torch

from deixis.adapt.sda.contents import WordPredictor, contents, distillation, guided_attention, semantic_initialisation

DRAW = torch.Generator().manual_seed(0)
ATTENTION = torch.rand(2, 6, 4, generator=DRAW).double()
TOKENS = torch.tensor([[True, True, True, True], [True, True, False, False]])
ATTENTION = ATTENTION * TOKENS[:, None] / (ATTENTION * TOKENS[:, None]).sum(-1, keepdim=True)
FOREGROUND = torch.tensor([[True, False, True, False, False, False], [True, True, True, False, False, True]])
WORDS = torch.randn(2, 4, 3, generator=DRAW).double()


def test_attention_is_averaged_over_the_foreground() -> None:
    guided = guided_attention(ATTENTION, FOREGROUND)
    for row in range(2):
        expected = ATTENTION[row].numpy()[FOREGROUND[row].numpy()].mean(0)
        np.testing.assert_allclose(guided[row], expected)
    torch.testing.assert_close(guided.sum(1), torch.ones(2).double())


def test_the_literal_formula_divides_by_all_cells() -> None:
    guided = guided_attention(ATTENTION, FOREGROUND, "area")
    for row in range(2):
        A = FOREGROUND[row].numpy()[:, None].astype(float)
        np.testing.assert_allclose(guided[row], (ATTENTION[row].numpy() * A).sum(0) / 6)


def test_an_empty_foreground_attends_to_nothing() -> None:
    assert not guided_attention(ATTENTION, torch.zeros_like(FOREGROUND)).any()


def test_contents_are_sharpened_sums_of_the_words_as_in_equation_1() -> None:
    guided = guided_attention(ATTENTION, FOREGROUND)
    found = contents(guided, WORDS, TOKENS, temperature=0.2)
    for row, N in enumerate((4, 2)):
        e = np.exp(guided[row, :N].numpy() / 0.2)
        H = (e / e.sum()) @ WORDS[row, :N].numpy() / N
        np.testing.assert_allclose(found[row], H)


def test_the_specs_example_of_a_small_object_selects_nothing_where_the_area_divides() -> None:
    weights = torch.tensor([[0.6, 0.2, 0.1, 0.05, 0.05]])
    one_each = torch.eye(5)[None]
    real = torch.ones(1, 5, dtype=torch.bool)
    by_area = contents(weights * 0.05, one_each, real)[0] * 5
    torch.testing.assert_close(by_area, torch.tensor([0.22, 0.20, 0.20, 0.19, 0.19]), atol=0.008, rtol=0)
    assert contents(weights, one_each, real)[0, 0] * 5 > 0.7


def test_the_predictor_weighs_real_words_only_and_learns_equation_11() -> None:
    torch.manual_seed(4)
    predictor = WordPredictor(3).double()
    predicted = predictor(WORDS, TOKENS)
    guided = guided_attention(ATTENTION, FOREGROUND)
    assert not predicted[~TOKENS].any()
    torch.testing.assert_close(predicted.sum(1), torch.ones(2).double())
    p, q = predicted.detach().numpy(), guided.numpy()
    kl = [sum(p[row, n] * np.log(p[row, n] / q[row, n]) for n in range(N)) for row, N in enumerate((4, 2))]
    loss = distillation(predicted, guided, TOKENS)
    assert loss.item() == pytest.approx(np.mean(kl))
    optimiser = torch.optim.Adam(predictor.parameters(), lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        distillation(predictor(WORDS, TOKENS), guided, TOKENS).backward()
        optimiser.step()
    assert distillation(predictor(WORDS, TOKENS), guided, TOKENS).item() < loss.item() / 2


def test_a_word_that_attention_misses_has_a_finite_loss() -> None:
    predicted = torch.tensor([[0.5, 0.5]], requires_grad=True)
    loss = distillation(predicted, torch.tensor([[1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_semantic_initialisation_is_equation_3() -> None:
    draw = torch.Generator().manual_seed(1)
    V, U = torch.randn(5, 7, generator=draw).double(), torch.randn(3, 7, generator=draw).double()
    L = torch.tensor([0, 2, 1, 1, 0])
    v = V.numpy() / np.linalg.norm(V.numpy(), axis=1, keepdims=True)
    u = U.numpy() / np.linalg.norm(U.numpy(), axis=1, keepdims=True)
    e = np.exp(v @ u.T / 0.1)
    expected = -np.log((e / e.sum(1, keepdims=True))[np.arange(5), L.numpy()]).mean()
    assert semantic_initialisation(V, L, U).item() == pytest.approx(expected)


def test_without_a_pixel_semantic_initialisation_is_zero_with_a_gradient() -> None:
    none = torch.zeros(0, 7, requires_grad=True)
    loss = semantic_initialisation(none, torch.zeros(0, dtype=torch.long), torch.ones(3, 7))
    loss.backward()
    assert loss.item() == 0
