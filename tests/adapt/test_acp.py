"""ACP's terms against NumPy, its concepts, and what it does without an instance."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deixis.adapt.acp import ACP, ACPConfig, assignments, foreground_means, information, preservation
from deixis.batch import Batch, Domains, Output, Pair
from deixis.errors import InputError, ModelError
from deixis.records import Config
from deixis.system import chosen_features
from deixis.vision.resnet import ResNet, ResNetConfig

CONFIG = ACPConfig(num_steps=10, concepts=3, high=0.5)


class Plain(nn.Module):
    """Pixels are the features, and their first channel is the logit."""

    loss_features: tuple[str, ...] = ()
    feature_widths: ClassVar[dict[str, int]] = {"visual": 3, "query": 4, "embeddings": 4}
    config = Config()

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, batch: Batch, *, features: Any = (), explain: bool = False) -> Output:
        visual = self.scale * batch.expand(batch.target_frames())
        words = self.table[batch.token_ids]
        available = {"visual": lambda: visual, "query": lambda: words, "embeddings": words.detach}
        return Output(logits=visual[:, 0], features=chosen_features(features, available, "Plain"))

    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        return {"mask": output.logits.square().mean()}


def domain(seed: int, *, is_labelled: bool) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return Batch(
        images=torch.randn(4, 1, 3, 6, 5, generator=draw),
        token_ids=torch.randint(1, 9, (4, 5), generator=draw),
        token_mask=torch.arange(5) < torch.tensor([[5], [3], [2], [4]]),
        masks=torch.rand(4, 6, 5, generator=draw) > 0.5 if is_labelled else None,
    )


@pytest.fixture
def pair() -> Pair:
    return Pair(source=domain(1, is_labelled=True), target=domain(2, is_labelled=False))


@pytest.fixture
def objective(pair: Pair) -> ACP:
    torch.manual_seed(0)
    made = CONFIG.build(Plain(), ())
    made.prepare(Domains(source=[pair.source], target=[pair.target]))
    return made.train()


def softmax(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, centres)]
    weights = np.exp(unit[0] @ unit[1].T / 0.1)
    return weights / weights.sum(1, keepdims=True)


def test_the_terms_are_those_of_the_literal_form(objective: ACP, pair: Pair) -> None:
    kept, known = {"pixels": 0.0, "words": 0.0}, 0.0
    for batch in (pair.source, pair.target):
        images, table = batch.images[:, 0].numpy(), objective.system.table.detach().numpy()
        masks = images[:, 0] > 0 if batch.masks is None else batch.masks.numpy()  # σ(0) is the threshold
        instances = np.stack([image[:, mask].mean(1) for image, mask in zip(images, masks, strict=True)])
        token_rows = [ids[real] for ids, real in zip(batch.token_ids.numpy(), batch.token_mask.numpy(), strict=True)]
        words = np.stack([table[ids].mean(0) for ids in token_rows])
        for name, rows, prototypes, centres in (
            ("pixels", instances, objective.instance_prototypes, objective.instance_centres),
            ("words", words, objective.word_prototypes, objective.word_centres),
        ):
            q, p = softmax(rows, centres.numpy()), softmax(rows, prototypes.detach().numpy())
            kept[name] += (q * np.log(q / p)).sum(1).mean()
            known += (p * np.log(p)).sum(1).mean() - (p.mean(0) * np.log(p.mean(0))).sum()
    weight = 0.1 * (2 / (1 + np.exp(-5)) - 1)  # step 5 of 10
    terms = objective(pair, 5)
    assert terms["pixels"].item() == pytest.approx(weight * kept["pixels"], rel=1e-4)
    assert terms["words"].item() == pytest.approx(weight * kept["words"], rel=1e-4)
    assert terms["information"].item() == pytest.approx(-0.1 * weight * known, rel=1e-4)


def test_concepts_are_the_groups_of_both_domains() -> None:
    directions = F.normalize(torch.tensor([[1.0, 0.1, 0.0], [-1.0, 0.2, 1.0], [0.1, -1.0, 1.0]]), dim=1)
    draw = torch.Generator().manual_seed(0)
    rows = (directions[torch.arange(30) % 3] + 0.02 * torch.randn(30, 3, generator=draw)) * 5
    centres = CONFIG.build(Plain(), ())._centres(rows)
    assert (directions @ centres.T).amax(1).min() > 0.999


def test_fewer_samples_than_concepts_have_fewer_centres(pair: Pair) -> None:
    made = replace(CONFIG, concepts=50).build(Plain(), ())
    made.prepare(Domains(source=[pair.source], target=[pair.target]))
    assert made.instance_centres.shape == (8, 3)
    assert all(term.isfinite() for term in made.train()(pair, 5).values())


def test_the_frozen_network_stays_as_it_was_when_the_system_moves(objective: ACP, pair: Pair) -> None:
    before = objective._fixed(pair.source).clone()
    with torch.no_grad():
        objective.system.scale += 1
    assert torch.equal(objective._fixed(pair.source), before)
    assert not any(weight.requires_grad for weight in objective.frozen.parameters())


def test_a_target_without_a_reliable_pixel_is_left_out(objective: ACP, pair: Pair) -> None:
    empty = replace(pair, target=replace(pair.target, images=-pair.target.images.abs()))
    terms = objective(empty, 5)
    assert all(term.isfinite() for term in terms.values())
    assert terms["pixels"] < objective(pair, 5)["pixels"]


def test_a_mean_is_over_the_cells_of_the_mask_and_of_the_photo_alone() -> None:
    batch = replace(domain(1, is_labelled=True), images=torch.randn(4, 1, 3, 6, 5))
    batch.images[:, :, :, 3:] = 0  # padding
    visual = torch.randn(4, 2, 6, 5)
    masks = batch.masks
    assert masks is not None
    means, is_found = foreground_means(visual, batch, Output(logits=torch.zeros(4, 6, 5)), 0.9)
    for place in range(4):
        expected = visual[place, :, :3][:, masks[place, :3]].mean(1)
        torch.testing.assert_close(means[place], expected)
    assert is_found.all()


def test_information_is_largest_where_assignments_are_sharp_and_all_concepts_are_used() -> None:
    assert information(torch.eye(4)).item() == pytest.approx(np.log(4))
    assert information(torch.full((4, 4), 0.25)).item() == pytest.approx(0, abs=1e-6)
    assert information(torch.eye(4)[[0, 0, 0]]).item() == pytest.approx(0)
    assert preservation(torch.eye(3), torch.eye(3)).item() == 0
    assert preservation(torch.empty(0, 3), torch.empty(0, 3)).item() == 0
    assert assignments(torch.eye(3), torch.eye(3), 0.1).argmax(1).tolist() == [0, 1, 2]


def test_a_published_resnet_can_be_the_frozen_network(pair: Pair, tmp_path: Path) -> None:
    torch.manual_seed(0)
    resnet = ResNet(ResNetConfig(depths=(1, 1, 1, 1), width=4))
    torch.save(resnet.state_dict(), tmp_path / "resnet.pth")
    config = replace(CONFIG, encoder=resnet.config, encoder_weights=str(tmp_path / "resnet.pth"))
    made = config.build(Plain(), ())
    made.prepare(Domains(source=[pair.source], target=[pair.target]))
    torch.testing.assert_close(made._fixed(pair.source), resnet(pair.source.images[:, 0])[-1])
    assert made.instance_centres.shape[1] == 4 * 4 * 8
    assert all(term.isfinite() for term in made.train()(pair, 5).values())


def test_what_is_missing_is_one_sentence_each(pair: Pair) -> None:
    made = CONFIG.build(Plain(), ())
    with pytest.raises(ModelError, match="no concepts yet; call prepare"):
        made(pair, 5)
    with pytest.raises(InputError, match="need the source's masks, but a batch has none"):
        made.prepare(Domains(source=[pair.target], target=[pair.target]))
    for change in ({"encoder": ResNetConfig()}, {"encoder_weights": "resnet101.pth"}):
        with pytest.raises(InputError, match="needs encoder and encoder_weights together"):
            replace(CONFIG, **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a probability"):
        replace(CONFIG, high=1.0)
