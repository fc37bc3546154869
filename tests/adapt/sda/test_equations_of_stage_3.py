"""Eqs. 4 to 7 as stage 3 computes them for a pair of batches, against NumPy written from the paper."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deixis.adapt.sda.dual import DualAdaptation, DualAdaptationConfig
from deixis.adapt.sda.structure import sample_keys
from deixis.batch import Batch, Output, Pair
from deixis.records import Ids

WIDTH, GRID, SIZE = 5, 4, 16
CONFIG = DualAdaptationConfig(is_reciprocal=False, memory=2, cells=40, relation_width=3)


class Fixed(torch.nn.Module):
    """A system whose features and responses are parameters; sample 0 is the source's, 1 the target's."""

    loss_features: tuple[str, ...] = ()
    feature_widths: ClassVar = {"visual": WIDTH, "query": 3}

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.visual = torch.nn.Parameter(torch.randn(2, WIDTH, GRID, GRID, generator=draw))
        self.query = torch.nn.Parameter(torch.randn(2, 2, 3, generator=draw))
        self.maps = torch.nn.Parameter(6 * torch.randn(2, GRID, GRID, generator=draw))
        self.decoder = torch.nn.Linear(1, 1)

    def forward(self, batch: Batch, features: Any = ()) -> Output:
        return self.decode(self.fuse(batch), features=features)

    def fuse(self, batch: Batch) -> Any:
        return self.maps

    def decode(self, fused: Any, decoder: Any = None, features: Any = ()) -> Output:
        decoded = (self.decoder if decoder is None else decoder)(fused[..., None])[..., 0]
        logits = decoded.repeat_interleave(SIZE // GRID, 1).repeat_interleave(SIZE // GRID, 2)
        return Output(logits=logits, features={"visual": self.visual, "query": self.query})

    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        return {"mask": F.binary_cross_entropy_with_logits(output.logits, batch.masks.float())}  # type: ignore[union-attr]


def one(name: str, masks: torch.Tensor | None) -> Batch:
    return Batch(
        images=torch.ones(1, 1, 3, SIZE, SIZE),
        token_ids=torch.ones(1, 2, dtype=torch.long),
        token_mask=torch.ones(1, 2, dtype=torch.bool),
        masks=masks,
        ids=(Ids(name, "1", "1"),),
    )


MASK = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
MASK[:, :8, :8] = True
PAIR = Pair(source=one("source", MASK), target=one("target", None))
A_S = MASK[0, 2::4, 2::4].flatten().numpy()  # the mask on the grid


def prepared(config: DualAdaptationConfig = CONFIG) -> DualAdaptation:
    torch.manual_seed(0)
    system = Fixed()
    with torch.no_grad():
        system.decoder.weight.fill_(1.0)
        system.decoder.bias.zero_()
    objective = DualAdaptation(system, config, ())
    for lookup, batch in zip(objective.labels, (PAIR.source, PAIR.target), strict=True):
        lookup.fill(sample_keys(batch).numpy(), np.array([0]))  # type: ignore[operator]
    objective.common = torch.tensor([0])
    for bank in objective.banks:
        bank.resize(1)  # type: ignore[operator]
    return objective.train()


def arrays(objective: DualAdaptation) -> Any:
    """V of both domains as rows, S of the target, and A^t."""
    system: Any = objective.system
    source, target = (each.detach().double().numpy().reshape(WIDTH, -1).T for each in system.visual)
    S = 1 / (1 + np.exp(-system.maps[1].detach().double().numpy().ravel()))
    return SimpleNamespace(source=source, target=target, S=S, front=S > 0.9, back=S < 0.1)


def contrast(anchors: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> float:
    """Eq. 4 at unit length and a temperature of 0.1, the mean over several positives."""
    v, p, n = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (anchors, positives, negatives))
    every = np.exp(v @ np.concatenate([p, n]).T / 0.1).sum(1)
    return float(np.mean([np.log(every[i]) - (v[i] @ p.T / 0.1).mean() for i in range(len(v))]))


def test_the_contrast_has_both_directions_and_the_targets_reliable_cells() -> None:
    objective = prepared()
    a = arrays(objective)
    assert 0 < a.front.sum() < GRID**2
    assert 0 < a.back.sum() < GRID**2
    there = contrast(a.source[A_S], a.target[a.front], a.target[a.back])
    back = contrast(a.target[a.front], a.source[A_S], a.source[~A_S])
    assert objective(PAIR, 0)["contrast"].item() == pytest.approx(there + back, rel=1e-4)


def test_the_memory_joins_the_batch_after_the_step_and_holds_it() -> None:
    objective = prepared()
    a = arrays(objective)
    objective(PAIR, 0)
    assert objective.banks[1].entered.tolist() == [0]
    objective.after_step(0)
    for bank, V, front in ((objective.banks[0], a.source, A_S), (objective.banks[1], a.target, a.front)):
        held = bank.entries(0)[0].double().numpy()  # type: ignore[operator]
        unit = V[front] / np.linalg.norm(V[front], axis=1, keepdims=True)
        np.testing.assert_allclose(sorted(set(map(tuple, held.round(5)))), sorted(map(tuple, unit.round(5))), atol=2e-5)
    front, back = (each.double().numpy() for each in objective.banks[1].entries(0))  # type: ignore[operator]
    there = contrast(
        a.source[A_S], np.concatenate([a.target[a.front], front]), np.concatenate([a.target[a.back], back])
    )
    front, back = (each.double().numpy() for each in objective.banks[0].entries(0))  # type: ignore[operator]
    other = contrast(a.target[a.front], np.concatenate([a.source[A_S], front]), np.concatenate([a.source[~A_S], back]))
    assert objective(PAIR, 1)["contrast"].item() == pytest.approx(there + other, rel=1e-4)


def test_a_category_that_the_domains_do_not_share_has_no_contrast() -> None:
    objective = prepared()
    objective.common = torch.tensor([-1])
    assert objective(PAIR, 0)["contrast"].item() == 0
    objective.after_step(0)
    assert objective.banks[0].entered.tolist() == [0]


def test_without_contrast_pairs_of_foreground_are_made_similar() -> None:
    objective = prepared(replace(CONFIG, alignment="cosine", memory=0))
    a = arrays(objective)
    v, u = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a.source[A_S], a.target[a.front]))
    assert objective(PAIR, 0)["contrast"].item() == pytest.approx(-2 * (v @ u.T).mean(), rel=1e-4)


def test_collaborative_training_is_equation_5_with_two_decoders() -> None:
    objective = prepared()
    a = arrays(objective)
    assert objective.auxiliary is not None
    with torch.no_grad():
        objective.auxiliary.bias.fill_(0.7)
    terms = objective(PAIR, 0)
    s = 1 / (1 + np.exp(-objective.system.maps[0].detach().double().numpy().ravel()))
    expected = -(A_S * np.log(s) + (1 - A_S) * np.log(1 - s)).mean()
    assert terms["mask"].item() == pytest.approx(expected, rel=1e-4)
    logits = objective.system.maps[1].detach().double().numpy().ravel() + 0.7
    t = 1 / (1 + np.exp(-logits))
    expected = -(a.front * np.log(t) + (1 - a.front) * np.log(1 - t)).mean()
    assert terms["auxiliary"].item() == pytest.approx(expected, rel=1e-4)


def test_the_pseudo_mask_never_trains_the_main_decoder() -> None:
    objective = prepared()
    terms = objective(PAIR, 0)
    torch.stack([term for name, term in terms.items() if name != "mask"]).sum().backward()
    assert all(weight.grad is None for weight in objective.system.decoder.parameters())
    assert objective.auxiliary is not None
    assert all(weight.grad is not None for weight in objective.auxiliary.parameters())


def test_relations_are_the_negative_of_equation_6_with_their_weight() -> None:
    objective = prepared()
    a, relation = arrays(objective), objective.relation
    assert relation is not None
    A, B = (each.weight.detach().double().numpy() for each in (relation.query, relation.pixel))
    Q = objective.system.query.detach().double().numpy().mean(1)  # over the real words

    def softplus(x: np.ndarray) -> np.ndarray:
        return np.log1p(np.exp(x))

    def minus_mi(query: np.ndarray, V: np.ndarray, near: np.ndarray, far: np.ndarray) -> float:
        T = (V @ B.T) @ (A @ query) / np.sqrt(3)
        return float(softplus(-T[near]).mean() + softplus(T[far]).mean())

    terms = objective(PAIR, 0)
    assert terms["relation_source"].item() == pytest.approx(0.1 * minus_mi(Q[0], a.source, A_S, ~A_S), rel=1e-4)
    # Here Ā^t is A^t's foreground: their intersection is their union.
    target = minus_mi(Q[1], a.target, a.front, a.front) + minus_mi(Q[1], a.target, a.front, a.back)
    assert terms["relation_target"].item() == pytest.approx(0.1 * target, rel=1e-4)


def test_the_weights_of_equation_7_scale_their_terms() -> None:
    plain = prepared(replace(CONFIG, contrast_weight=1.0, relation_weight=1.0))(PAIR, 0)
    scaled = prepared(replace(CONFIG, contrast_weight=0.5, relation_weight=0.1))(PAIR, 0)
    for name, by in (
        ("mask", 1),
        ("auxiliary", 1),
        ("contrast", 0.5),
        ("relation_source", 0.1),
        ("relation_target", 0.1),
    ):
        assert scaled[name].item() == pytest.approx(by * plain[name].item(), rel=1e-5)


def test_the_teacher_follows_by_a_hundredth() -> None:
    objective = prepared()
    before = objective.teacher.network.maps.clone()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        objective.system.maps += 1
    objective.after_step(0)
    torch.testing.assert_close(objective.teacher.network.maps, before + 0.01)  # type: ignore[arg-type]


def test_a_resumed_objective_has_the_same_memory_and_teacher(tmp_path: Path) -> None:
    first = prepared()
    first(PAIR, 0)
    first.after_step(0)
    second = prepared()
    second.load_state_dict(first.state_dict())
    assert second(PAIR, 1)["contrast"].item() == first(PAIR, 1)["contrast"].item()
