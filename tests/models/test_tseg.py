"""tseg-like: its scores and its loss against loops over patches and pairs."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from deixis.batch import Batch
from deixis.errors import InputError
from deixis.models.tseg import TSEG, TSEGConfig
from deixis.text.bert import BertConfig

TEXT = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24, dropout=0.0)


def tiny(**changes: Any) -> TSEG:
    torch.manual_seed(0)
    sizes = {"vision_layers": 1, "vision_width": 16, "vision_heads": 2, "vision_feed_forward": 32, "width": 12}
    system = TSEGConfig(text=TEXT, image_size=32, patch_size=8, **sizes, **changes).build().eval()
    with torch.no_grad():
        system.bias += 0.1
    return system


def by_hand(cosine: np.ndarray, system: TSEG) -> float:
    """One image's score of one expression."""
    scale, bias = math.exp(system.log_scale.item()), system.bias.item()
    scores = [(value - bias) * scale for value in cosine.tolist()]
    chosen = [1 / (1 + math.exp(-score)) for score in scores]
    pooled = sum(m * s for m, s in zip(chosen, scores, strict=True)) / (1 + sum(chosen))
    area = sum(chosen) / len(chosen)
    return pooled + (1 - area) ** 3 * math.log(0.01 + area)


def test_an_images_score_is_the_weighted_mean_of_its_patches_and_a_term_for_the_size() -> None:
    system, cosine = tiny(), torch.rand(3, 5, 16, generator=torch.Generator().manual_seed(1)) * 0.6 - 0.2
    found = system.image_scores(cosine)
    for image in range(3):
        for expression in range(5):
            expected = by_hand(cosine[image, expression].numpy(), system)
            assert found[image, expression].item() == pytest.approx(expected, abs=1e-4)


def test_pooling_can_be_the_mean_or_the_maximum_of_the_patches() -> None:
    cosine = torch.tensor([0.1, 0.2, 0.6])
    scores = (cosine - 0.1) / 0.07
    torch.testing.assert_close(tiny(pooling="mean").image_scores(cosine), scores.mean())
    torch.testing.assert_close(tiny(pooling="max").image_scores(cosine), scores.max())


def test_the_loss_weighs_positives_and_negatives_equally_and_knows_equal_sentences() -> None:
    system = tiny()
    draw = torch.Generator().manual_seed(2)
    images = torch.nn.functional.normalize(torch.randn(3, 16, 12, generator=draw), dim=-1)
    sentences = torch.nn.functional.normalize(torch.randn(3, 12, generator=draw), dim=-1)
    sentences[2] = sentences[0]
    same = torch.tensor([[True, False, True], [False, True, False], [True, False, True]])
    found = system.pair_loss(images, sentences, same)["classes"].item()
    terms: dict[bool, list[float]] = {True: [], False: []}
    for image in range(3):
        for expression in range(3):
            score = by_hand((images[image] @ sentences[expression]).numpy(), system)
            is_own = bool(same[image, expression])
            terms[is_own].append(math.log1p(math.exp(-score if is_own else score)))
    assert found == pytest.approx((np.mean(terms[True]) + np.mean(terms[False])) / 2, abs=1e-4)


def test_a_pixels_probability_is_the_upsampled_decision_of_its_patches() -> None:
    system = tiny()
    batch = Batch(
        images=torch.randn(2, 1, 3, 32, 40),
        token_ids=torch.randint(1, 40, (2, 6)),
        token_mask=torch.ones(2, 6, dtype=torch.bool),
    )
    output = system(batch, explain=True)
    cosine = output.evidence["similarity"]
    assert cosine.shape == (2, 4, 5)
    chosen = ((cosine - 0.1) / 0.07).sigmoid()
    torch.testing.assert_close(output.evidence["chosen"], chosen, atol=1e-5, rtol=0)
    upsampled = torch.nn.functional.interpolate(chosen[:, None], (32, 40), mode="bilinear", align_corners=False)
    torch.testing.assert_close(output.logits.sigmoid(), upsampled[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("mixing_layers", [0, 2])
def test_other_expressions_of_the_batch_do_not_compete(mixing_layers: int) -> None:
    system = tiny(mixing_layers=mixing_layers, mixing_heads=3)
    batch = Batch(
        images=torch.randn(1, 1, 3, 32, 32),
        token_ids=torch.randint(1, 40, (4, 6)),
        token_mask=torch.ones(4, 6, dtype=torch.bool),
        image_index=torch.zeros(4, dtype=torch.long),
    )
    alone = Batch(images=batch.images, token_ids=batch.token_ids[:1], token_mask=batch.token_mask[:1])
    torch.testing.assert_close(system(batch).logits[:1], system(alone).logits, atol=1e-5, rtol=0)


def test_mixing_layers_let_an_expression_see_the_patches_and_no_other_expression() -> None:
    system = tiny(mixing_layers=2, mixing_heads=3)
    patches, sentences = torch.randn(2, 16, 12), torch.randn(2, 3, 12)
    together = system.cosines(patches, sentences)
    alone = torch.cat([system.cosines(patches, sentences[:, [number]]) for number in range(3)], dim=1)
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(together, tiny().cosines(patches, sentences))
    other = patches.clone()
    other[:, 0] += torch.randn(12)  # changes the cosines of the patches beside it
    assert (system.cosines(other, sentences)[..., 1:] - together[..., 1:]).abs().min() > 1e-6


def test_mixing_layers_are_trained_by_the_loss_of_pairs() -> None:
    system = tiny(mixing_layers=1, mixing_heads=2)
    loss = system.pair_loss(torch.randn(3, 16, 12), torch.randn(3, 12), torch.eye(3, dtype=torch.bool))["classes"]
    loss.backward()
    for name, weight in system.mixing.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_its_vision_half_has_the_published_names_of_a_vision_transformer() -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    from transformers import ViTConfig, ViTModel  # here: it takes seconds

    published = ViTModel(ViTConfig(image_size=32, patch_size=8, **sizes), add_pooling_layer=False)
    tiny().vision.load_state_dict(published.state_dict())


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"mixing_layers": 1, "mixing_heads": 5},
        {"vision_heads": 5},
        {"epsilon": 0.0},
        {"size_floor": -0.1},
    ],
)
def test_impossible_sizes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="TSEG"):
        TSEGConfig(**wrong)
