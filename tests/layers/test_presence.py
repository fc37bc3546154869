"""The presence head of VEGA, LAVT and late fusion: what it reads, what it leaves alone, and what its loss counts."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from deixis.batch import Batch
from deixis.layers.presence import PresenceHead, presence_terms
from deixis.models.late_fusion import LateFusionConfig
from deixis.models.lavt import LAVTConfig
from deixis.models.vega import VEGAConfig
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig

VISION = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0)
TEXT = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=16, dropout=0.0)
CONFIGS: dict[str, Any] = {
    "late_fusion": LateFusionConfig(vision=VISION, text=TEXT, width=16),
    "lavt": LAVTConfig(vision=VISION, text=TEXT),
    "vega": VEGAConfig(vision=VISION, text=TEXT, width=16, heads=2, decoder_widths=(8, 8, 16)),
}
ABSENT = torch.tensor([False, True, False])


def batch(length: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 40, (3, 6), generator=draw)
    masks = torch.rand(3, 64, 64, generator=draw) > 0.6
    return Batch(
        images=torch.randn(2, 1, 3, 64, 64, generator=draw),
        token_ids=torch.cat([ids, torch.zeros(3, length - 6, dtype=torch.long)], dim=1),
        token_mask=torch.arange(length) < torch.tensor([[6], [4], [2]]),
        masks=masks & ~ABSENT[:, None, None],
        image_index=torch.tensor([1, 0, 1]),
    )


def built(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return replace(CONFIGS[name], **options).build().eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_head_changes_neither_the_masks_nor_the_weights_before_it(name: str) -> None:
    plain, more = built(name), built(name, presence=True)
    for key, weight in plain.state_dict().items():
        assert torch.equal(weight, more.state_dict()[key]), key
    assert all(key.startswith("present.") for key in more.state_dict().keys() - plain.state_dict().keys())
    before, after = plain(batch()), more(batch())
    assert torch.equal(before.logits, after.logits)
    assert before.presence is None
    assert after.presence.shape == (3,)


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_nothing_and_each_expression_stands_alone(name: str) -> None:
    system = built(name, presence=True)
    together = system(batch()).presence
    torch.testing.assert_close(system(batch(9)).presence, together, atol=1e-5, rtol=1e-5)
    whole = batch()
    alone = Batch(images=whole.images[:1], token_ids=whole.token_ids[1:2, :4], token_mask=whole.token_mask[1:2, :4])
    torch.testing.assert_close(system(alone).presence, together[1:2], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_masks_terms_count_referents_that_are_there(name: str) -> None:
    system, whole = built(name, presence=True, presence_weight=2.0), batch()
    output = system(whole, features=system.loss_features)
    terms = system.loss(whole, output)
    plain = built(name)
    present = replace(
        whole, token_ids=whole.token_ids[~ABSENT], token_mask=whole.token_mask[~ABSENT], masks=whole.masks[~ABSENT],
        image_index=torch.tensor([1, 1]),
    )  # fmt: skip
    expected = plain.loss(present, plain(present, features=plain.loss_features))
    assert terms.keys() == expected.keys() | {"presence"}
    for key, term in expected.items():
        torch.testing.assert_close(terms[key], term, atol=1e-4, rtol=1e-4)
    signs = torch.where(ABSENT, 1.0, -1.0)
    by_hand = sum(math.log1p(math.exp(value)) for value in (signs * output.presence).tolist()) / 3
    assert float(terms["presence"].detach()) == pytest.approx(2 * by_hand, rel=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_weight_of_the_head_gets_a_gradient(name: str) -> None:
    system = built(name, presence=True)
    system(batch()).presence.sum().backward()
    without = [key for key, each in system.present.named_parameters() if each.grad is None or not each.grad.any()]
    assert not without


def test_without_a_referent_the_masks_terms_are_zero_and_finite() -> None:
    system, whole = built("vega", presence=True, dice_weight=1.0), batch()
    nothing = replace(whole, masks=torch.zeros_like(whole.masks))
    terms = system.loss(nothing, system(nothing, features=system.loss_features))
    assert not any(terms[key].detach() for key in ("mask", "dice", "pixel_contrast"))
    torch.stack(list(terms.values())).sum().backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in system.parameters())


def test_the_masks_logits_get_no_gradient_from_the_head() -> None:
    head, scores = PresenceHead((4, 6), 8, 16, 2), torch.randn(2, 8, 8, requires_grad=True)
    maps = [torch.randn(2, 4, 4, 4), torch.randn(2, 2, 2, 6)]
    logits = head(maps, torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool), scores)
    assert logits.shape == (2,)
    logits.sum().backward()
    assert scores.grad is None


def test_without_a_head_the_terms_are_those_of_all_expressions() -> None:
    masks, values = torch.ones(2, 3, 3, dtype=torch.bool), torch.tensor([1.0, 2.0])
    terms_of: Callable[[Any], dict[str, Tensor]] = lambda chosen: {"mask": values[chosen].mean()}  # noqa: E731
    assert presence_terms(terms_of, masks, None, 1.0) == {"mask": torch.tensor(1.5)}
