"""ProposalMatching: what its terms teach, and what it answers."""

import math
from dataclasses import replace

import pytest
import torch

from deixis.batch import Batch
from deixis.errors import InputError
from deixis.layers.proposals import FAINT, named_loss
from deixis.models.proposal_matching import ProposalMatching, ProposalMatchingConfig
from deixis.text.gru import GRUConfig
from deixis.vision.nanodet import NanoDetConfig

TINY = ProposalMatchingConfig(
    detector=NanoDetConfig(stem=8, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), neck=16, classes=5),
    text=GRUConfig(vocabulary=12, embedding=16, width=16),
    proposals=60,
    width=32,
    heads=2,
    layers=1,
    mask_width=16,
    unknown=0.0,
)


def scene() -> Batch:
    """A red square on the left, a blue one on the right; a sentence for each, and one for neither."""
    images = torch.zeros(1, 1, 3, 64, 64)
    images[0, 0, 0, 20:44, 4:28], images[0, 0, 2, 20:44, 36:60] = 2.0, 2.0
    masks = torch.zeros(3, 64, 64, dtype=torch.bool)
    masks[0, 20:44, 4:28], masks[1, 20:44, 36:60] = True, True
    masks[0, 20:28, 4:12] = False  # not a box
    return Batch(
        images=images,
        token_ids=torch.tensor([[2, 3], [4, 3], [5, 3]]),
        token_mask=torch.ones(3, 2, dtype=torch.bool),
        masks=masks,
        image_index=torch.tensor([0, 0, 0]),
    )


def tiny() -> ProposalMatching:
    """Its finest cells are the best, and propose boxes of 24x24 pixels."""
    torch.manual_seed(1)
    system = ProposalMatching(TINY)
    with torch.no_grad():
        bias = system.detector.head_out[0].conv.bias
        bias[:5] += 2
        bias[5:].unflatten(0, (4, 11))[:, 1:3] = 8
    return system


def terms_of(system: ProposalMatching, batch: Batch) -> dict[str, torch.Tensor]:
    return system.loss(batch, system(batch, features=system.loss_features))


def trained(batch: Batch, steps: int) -> tuple[ProposalMatching, list[float]]:
    """On one batch, and the sum of the terms at each step."""
    system, sums = tiny(), []
    optimiser = torch.optim.AdamW(system.parameters(), lr=2e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        total = torch.stack(list(terms_of(system, batch).values())).sum()
        total.backward()
        torch.nn.utils.clip_grad_norm_(system.parameters(), 1.0)
        optimiser.step()
        sums.append(total.item())
    return system, sums


def test_its_terms_fall_on_one_scene() -> None:
    _, sums = trained(scene(), 12)
    assert sum(sums[-3:]) < 0.85 * sum(sums[:3])


@pytest.mark.slow
def test_it_learns_one_scene_by_heart_and_that_one_sentence_refers_to_nothing() -> None:
    batch = scene()
    assert batch.masks is not None
    batch.masks[1, 36:44, 52:60] = False  # a box would not teach its outline
    system, _ = trained(batch, 600)
    system.eval()
    with torch.no_grad():
        output = system(batch)
    found = output.logits > 0
    overlap = (found & batch.masks).flatten(1).sum(1) / (found | batch.masks).flatten(1).sum(1)
    assert overlap[:2].min() > 0.5
    assert output.presence is not None
    assert (output.presence > 0).tolist() == [True, True, False]


def test_a_mask_that_fills_its_box_teaches_no_outline() -> None:
    system, batch = tiny().eval(), scene()
    boxed = replace(batch, masks=batch.masks[1:2], token_ids=batch.token_ids[1:2], image_index=torch.tensor([0]),
                    token_mask=batch.token_mask[1:2])  # fmt: skip
    terms = terms_of(system, boxed)
    assert terms["outline"] == terms["dice"] == 0
    assert terms["choice"] > 0


def test_words_become_unknown_in_training_alone_and_only_where_something_is_meant() -> None:
    system, batch = ProposalMatching(replace(TINY, unknown=0.99)), scene()
    assert batch.masks is not None
    batch = replace(batch, masks=batch.masks & torch.tensor([True, True, False])[:, None, None])
    torch.manual_seed(0)
    ids = system._some_unknown(batch)
    assert (ids[:2] == 1).float().mean() > 0.5
    assert torch.equal(ids[2], batch.token_ids[2])
    assert torch.equal(system.eval()._some_unknown(batch), batch.token_ids)


def test_an_absent_referent_teaches_the_choice_of_nothing_alone() -> None:
    system, batch = tiny().eval(), scene()
    absent = replace(batch, masks=torch.zeros_like(batch.masks))
    output = system(absent, features=system.loss_features)
    terms = system.loss(absent, output)
    expected = -output.features["choice"].log_softmax(1)[:, -1].mean()
    torch.testing.assert_close(terms["choice"], expected)
    assert terms["outline"] == terms["dice"] == 0


def test_presence_falls_where_nothing_fits_the_named_class() -> None:
    """All other weights untrained: the head starts from the best fit and the share of "nothing here"."""
    system, batch = tiny().eval(), scene()
    assert system.present is not None
    with torch.no_grad():
        for layer in (system.named.classes, system.present.rest[2]):
            layer.weight.zero_()
            layer.bias.zero_()
        system.named.classes.bias[3] = 9.0
        encoded = system.encode_images(batch.images)
        seen = system.decode_expressions(encoded, batch, features=("choice",))
        encoded.classes[..., 3] = 1e-4
        unseen = system.decode_expressions(encoded, batch, features=("choice",))
    assert seen.presence is not None
    assert unseen.presence is not None
    choice = unseen.features["choice"]
    some = choice[:, :-1].logsumexp(1) - choice[:, -1]
    torch.testing.assert_close(unseen.presence, math.log(FAINT) + 2 + 0.5 * some)
    assert (unseen.presence < seen.presence - 1).all()


def test_a_word_for_several_classes_asks_no_more_of_a_proposal_than_a_word_for_one() -> None:
    system = tiny().eval()
    classes = torch.tensor([[[0.5, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.9]]])
    words, ids = torch.zeros(1, 2, 16), torch.tensor([[2, 3]])
    with torch.no_grad():
        system.named.classes.weight.zero_()
        fits = []
        for bias in ([9.0, 0, 0, 0, 0], [9.0, 9.0, 9.0, 9.0, 0]):
            system.named.classes.bias.copy_(torch.tensor(bias))
            fits.append(system.named(classes, words, words, ids, ids > 0)[1])
    torch.testing.assert_close(fits[0], torch.tensor([[math.log(0.5), math.log(FAINT)]]))
    torch.testing.assert_close(fits[1], fits[0])


def test_the_right_proposals_class_is_the_one_to_name() -> None:
    classes = torch.tensor([[[0.1, 0.0, 0.8], [0.9, 0.0, 0.0]]] * 2)
    right, named = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.3, 0.1, -0.5]] * 2)
    target = torch.tensor([0.01, 0.0, 0.64]) / 0.65  # of the first sentence; the second has no right proposal
    expected = -(target * named[0].log_softmax(0)).sum()
    torch.testing.assert_close(named_loss(named, classes, right), expected)


def test_evidence_is_a_probability_over_the_image() -> None:
    evidence = tiny().eval()(scene(), explain=True).evidence["proposals"]
    assert evidence.shape == (3, 32, 32)
    assert evidence.min() >= 0
    assert evidence.max() <= 1


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="a width that the heads divide"):
        ProposalMatchingConfig(width=30, heads=4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_proposals_scores_whatever_their_order(dtype: torch.dtype) -> None:
    """With random weights the best two are near ties, so that the chosen outline may be another one."""
    torch.manual_seed(11)
    every_cell = replace(TINY, proposals=100)
    system, batch = ProposalMatching(every_cell).eval(), replace(scene(), images=torch.randn(1, 1, 3, 64, 64))
    with torch.no_grad():
        exact = system(batch, features=("choice", "boxes"))
        narrow = replace(batch, images=batch.images.to(dtype))
        found = system.to(dtype)(narrow, features=("choice", "boxes"))
    before, after = (each.features["choice"].float().sort(1).values for each in (exact, found))
    assert ((after - before).abs().mean() / before.std()).item() < 0.1
    assert found.features["boxes"].dtype == torch.float32  # beyond the 256th pixel half precision skips some


def test_without_presence_no_output_says_that_nothing_is_there() -> None:
    config = replace(TINY, presence=False)
    assert ProposalMatching(config)(scene()).presence is None
    assert ProposalMatching(TINY)(scene()).presence is not None
