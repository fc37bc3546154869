"""The objective of presence alone: the head learns, everything else stays."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deixis.batch import Batch, Output
from deixis.errors import InputError
from deixis.models.late_fusion import LateFusion, LateFusionConfig
from deixis.objectives.presence import Presence, PresenceConfig
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig

TINY = LateFusionConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.5),
    text=BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=16, dropout=0.5),
    width=12,
    presence=True,
)


def batch() -> Batch:
    """Word 5 names the bright half of an image; it is absent from the dark one."""
    images = torch.full((2, 1, 3, 32, 32), -1.0)
    images[0, ..., 16:] = 1.0
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[0, :, 16:] = True
    ids = torch.tensor([[2, 5, 3]]).expand(2, 3)
    return Batch(images=images, token_ids=ids, token_mask=torch.ones(2, 3, dtype=torch.bool), masks=masks)


def test_the_head_learns_and_nothing_else_changes() -> None:
    torch.manual_seed(0)
    objective = PresenceConfig().build(LateFusion(TINY), ()).train()
    before = {name: weight.clone() for name, weight in objective.system.state_dict().items()}
    trained = [each for each in objective.parameters() if each.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=0.01)
    for step in range(20):
        optimiser.zero_grad()
        objective.terms(batch(), step)["presence"].backward()
        optimiser.step()
    changed = {name for name, weight in objective.system.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith("present.") for name in changed)
    assert float(objective.scores(batch())["presence"]) == 1.0


def test_the_rest_is_in_evaluation_mode() -> None:
    objective = Presence(LateFusion(TINY)).train()
    assert objective.system.present.training
    assert not objective.system.text.training
    assert torch.equal(objective.system(batch()).logits, objective.system(batch()).logits)  # no dropout
    assert not objective.eval().system.present.training


def test_weighed_by_iou_a_referent_counts_as_much_as_its_mask_overlaps_it() -> None:
    class Fixed(LateFusion):
        def forward(self, batch: Batch, **options: object) -> Output:
            logits = torch.full((2, 32, 32), -1.0)
            logits[:, :, 24:] = 1.0  # half of the target
            return Output(logits=logits, presence=torch.tensor([0.3, -0.2], requires_grad=True))

    found = Presence(Fixed(TINY), PresenceConfig(weigh_by_iou=True)).terms(batch(), 0)["presence"]
    present, absent = -F.logsigmoid(torch.tensor(0.3)), -F.logsigmoid(torch.tensor(0.2))
    torch.testing.assert_close(found, (0.5 * present + absent) / 2)


def test_a_system_without_a_head_is_refused() -> None:
    with pytest.raises(InputError, match=r"has no presence head to train; add --system\.presence True"):
        Presence(LateFusion(replace(TINY, presence=False)))


def test_a_batch_without_masks_is_refused() -> None:
    with pytest.raises(InputError, match="read from its mask"):
        Presence(LateFusion(TINY)).terms(replace(batch(), masks=None), 0)
