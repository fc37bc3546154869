"""Training on pairs without masks: CLIP's own loss, equal sentences, and two processes that equal one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from deixis import losses
from deixis.batch import Batch
from deixis.errors import InputError
from deixis.models.late_fusion import LateFusionConfig
from deixis.models.tseg import TSEGConfig
from deixis.objectives.image_text import ImageText, ImageTextConfig, sentence_keys
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig
from tests.processes import in_each_of_two

TEXT = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24, dropout=0.0)
RANKS, ROWS = 2, 2


def tiny() -> Any:
    torch.manual_seed(0)
    sizes = {"vision_layers": 1, "vision_width": 16, "vision_heads": 2, "vision_feed_forward": 32, "width": 12}
    return TSEGConfig(text=TEXT, image_size=32, patch_size=8, **sizes).build()


def pairs(start: int = 0, stop: int = RANKS * ROWS) -> Batch:
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(RANKS * ROWS, 1, 3, 32, 32, generator=draw)
    token_ids = torch.randint(1, 40, (RANKS * ROWS, 6), generator=draw)
    token_ids[3] = token_ids[0]  # in another process
    mask = torch.ones(RANKS * ROWS, 6, dtype=torch.bool)
    return Batch(images=images[start:stop], token_ids=token_ids[start:stop], token_mask=mask[start:stop])


def test_the_contrast_is_clips_loss_with_a_clamped_scale() -> None:
    draw = torch.Generator().manual_seed(3)
    images, sentences = torch.nn.functional.normalize(torch.randn(2, 5, 8, generator=draw), dim=-1)
    for log_scale, scale in ((2.0, torch.tensor(2.0).exp()), (9.0, 100.0)):
        found = losses.image_text_contrast(images, sentences, torch.tensor(log_scale))
        torch.testing.assert_close(found, image_text_contrastive_loss(scale * sentences @ images.T))


def test_masks_are_not_read() -> None:
    objective = ImageTextConfig().build(tiny(), ())
    plain = objective(pairs(), 0)["classes"]
    labelled = replace(pairs(), masks=torch.rand(4, 32, 32) > 0.5, targets={"labelled": torch.tensor([True] * 4)})
    assert torch.equal(objective(labelled, 0)["classes"], plain)
    assert objective.needs_whole_batch
    assert objective.takes_unlabelled


def test_sentences_with_equal_tokens_have_equal_keys_whatever_the_padding() -> None:
    token_ids = torch.tensor([[5, 6, 7, 0], [5, 6, 7, 9], [5, 7, 6, 0], [5, 6, 0, 0], [5, 6, 7, 9]])
    token_mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]).bool()
    keys = sentence_keys(token_ids, token_mask).tolist()
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


def test_a_batch_of_one_pair_is_refused_in_training() -> None:
    objective = ImageText(tiny()).train()
    with pytest.raises(InputError, match=r"one pair, .*use a batch size of 2 or more"):
        objective(pairs(stop=1), 0)
    assert objective.eval()(pairs(stop=1), 0)["classes"].isfinite()  # the rest of a validation split


def test_a_system_without_a_loss_of_pairs_is_refused() -> None:
    vision = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4)
    with pytest.raises(InputError, match="LateFusion has no loss of images and sentences"):
        ImageText(LateFusionConfig(vision=vision, text=TEXT, width=16).build())


def test_it_learns_which_sentences_belong_to_which_image() -> None:
    objective = ImageText(tiny()).train()
    optimiser = torch.optim.Adam(objective.parameters(), lr=3e-3)
    seen = []
    for step in range(30):
        loss = objective(pairs(), step)["classes"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append(loss.item())
    assert seen[-1] < 0.5 * seen[0]


def test_two_processes_equal_one(tmp_path: Path) -> None:
    in_each_of_two(run, tmp_path)
    whole = ImageText(tiny()).train()
    loss = whole(pairs(), 0)["classes"]
    loss.backward()
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]
    for name, weight in whole.named_parameters():
        for own, _ in found:
            torch.testing.assert_close(own, loss.detach(), atol=1e-5, rtol=0)
        mean = torch.stack([gradients[name] for _, gradients in found]).mean(0)
        torch.testing.assert_close(mean, weight.grad, atol=1e-5, rtol=1e-4)


def run(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS)
    objective = ImageText(tiny()).train()
    loss = objective(pairs(rank * ROWS, (rank + 1) * ROWS), 0)["classes"]
    loss.backward()
    gradients = {name: weight.grad for name, weight in objective.named_parameters()}
    torch.save((loss.detach(), gradients), folder / f"{rank}.pt")
    dist.destroy_process_group()
