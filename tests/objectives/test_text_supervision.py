"""Training from sentences alone: no mask is read, each sentence is compared with every image, the loss warms up."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from deixis.batch import Batch
from deixis.errors import InputError
from deixis.models.sag import SaG, SaGConfig
from deixis.objectives.text_supervision import TextSupervision, TextSupervisionConfig, image_contrast
from deixis.text.bert import BertConfig
from deixis.vision.vit import ViTConfig
from tests.processes import in_each_of_two

TINY = SaGConfig(
    vision=ViTConfig(layers=1, width=16, heads=2, grid=2, drop_path=0.0),
    text=BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=30, positions=16, dropout=0.0),
    width=16,
    gaussians=2,
    samples=2,
    iterations=2,
    heads=2,
    head_width=8,
    interaction_head_width=8,
    fusion_head_width=8,
    dropout=0.0,
)


@pytest.fixture
def objective() -> TextSupervision:
    torch.manual_seed(0)
    built = TextSupervisionConfig().build(SaG(TINY), ())
    assert isinstance(built, TextSupervision)
    return built


def batch(count: int = 3) -> Batch:
    draw = torch.Generator().manual_seed(1)
    return Batch(
        images=torch.randn(count, 1, 3, 32, 32, generator=draw),
        token_ids=torch.randint(1, 30, (count, 6), generator=draw),
        token_mask=torch.ones(count, 6, dtype=torch.bool),
    )


def test_the_contrast_is_cross_entropy_over_the_images() -> None:
    draw = torch.Generator().manual_seed(2)
    sentences, matches = torch.randn(3, 4, generator=draw), torch.randn(3, 2, 4, generator=draw)
    own = [1, 0, 1]
    expected = 0.0
    for number in range(3):
        scores = [float(sentences[number] @ matches[number, image]) for image in range(2)]
        expected -= scores[own[number]] - float(torch.tensor(scores).exp().sum().log())
    found = image_contrast(sentences, matches, torch.tensor(own))
    assert found.item() == pytest.approx(expected / 3, abs=1e-5)


def test_no_mask_is_read(objective: TextSupervision) -> None:
    plain, masks = batch(), torch.rand(3, 32, 32) > 0.5
    torch.manual_seed(3)
    without = objective.train()(plain, 0)
    torch.manual_seed(3)
    given = objective(replace(plain, masks=masks), 0)
    assert without.keys() == given.keys() == {"contrastive", "reconstruction"}
    assert all(torch.equal(without[name], given[name]) for name in given)


def test_the_loss_is_warmed_up_linearly_in_training_only(objective: TextSupervision) -> None:
    def terms(step: int) -> dict[str, float]:
        torch.manual_seed(3)
        return {name: term.item() for name, term in objective(batch(), step).items()}

    objective.train()
    full = terms(4999)
    assert terms(9999) == full
    for name, term in terms(0).items():
        assert term == pytest.approx(full[name] / 5000, rel=1e-5)
    for name, term in terms(1249).items():
        assert term == pytest.approx(full[name] / 4, rel=1e-5)
    objective.eval()
    assert terms(0) == terms(9999)


def test_two_sentences_that_share_an_image_equal_two_copies_of_their_own(objective: TextSupervision) -> None:
    given = batch()
    shared = replace(given, images=given.images[:2], image_index=torch.tensor([0, 1, 1]))
    terms = objective.eval()(shared, 0)
    found = objective.system(shared, features=objective.requires).features
    expected = image_contrast(
        found["sentence"], objective.system.match(found["sentence"], found["slots"]), torch.tensor([0, 1, 1])
    )
    torch.testing.assert_close(terms["contrastive"], expected)


def test_in_training_each_sentence_has_a_copy_of_its_image_as_published(objective: TextSupervision) -> None:
    objective.system.discovery.noise = _noise_of_content
    given = batch()
    shared = replace(given, images=given.images[:2], image_index=torch.tensor([0, 1, 1]))
    copied = replace(given, images=given.images[:2][shared.image_index])
    found, expected = (objective.train()(each, 9999) for each in (shared, copied))
    for name, term in expected.items():
        torch.testing.assert_close(found[name], term)
    features = objective.system(copied, features=objective.requires).features
    matches = objective.system.match(features["sentence"], features["slots"])
    scores = (matches @ features["sentence"][..., None])[..., 0].tolist()
    losses = [-row[own] + float(torch.tensor(row).exp().sum().log()) for own, row in enumerate(scores)]
    assert found["contrastive"].item() == pytest.approx(sum(losses) / 3, abs=1e-5)


def test_two_processes_give_the_losses_and_gradients_of_one(tmp_path: Path, objective: TextSupervision) -> None:
    in_each_of_two(_run, tmp_path)
    terms, expected = _terms_and_gradients(objective, _shared_by_some())
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for own, gradients in both:
        torch.testing.assert_close(own["contrastive"], terms["contrastive"], atol=1e-6, rtol=0)
        for name, gradient in gradients.items():
            limit = 1e-3 * expected[name].abs().max().item() + 1e-8
            torch.testing.assert_close(gradient, expected[name], atol=limit, rtol=0, msg=name)
    mean = (both[0][0]["reconstruction"] + both[1][0]["reconstruction"]) / 2
    torch.testing.assert_close(mean, terms["reconstruction"], atol=1e-6, rtol=0)
    assert sum(bool(gradient.abs().max() > 1e-6) for gradient in expected.values()) > len(expected) / 2


def _shared_by_some() -> Batch:
    """Four sentences; the first two are of one image, so that the processes have different numbers of images."""
    given = batch(4)
    return replace(given, images=given.images[[0, 2, 3]], image_index=torch.tensor([0, 0, 1, 2]))


def _share(whole: Batch, rank: int) -> Batch:
    part = slice(2 * rank, 2 * rank + 2)
    images, index = whole.images[[0]] if rank == 0 else whole.images[[1, 2]], torch.tensor([0, 0])
    return replace(
        whole,
        images=images,
        image_index=index if rank == 0 else None,
        token_ids=whole.token_ids[part],
        token_mask=whole.token_mask[part],
    )


def _noise_of_content(context: Tensor) -> Tensor:
    """Noise that depends on the image alone: the random numbers of two processes are others than those of one."""
    return context[:, :4].sin()


def _terms_and_gradients(model: TextSupervision, given: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    model.system.discovery.noise = _noise_of_content
    model.train()
    wrapped: nn.Module = model
    if dist.is_initialized():
        wrapped = nn.parallel.DistributedDataParallel(model)
    terms = wrapped(given, 9999)
    torch.stack(list(terms.values())).sum().backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return {name: term.detach() for name, term in terms.items()}, gradients


def _run(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = TextSupervision(SaG(TINY), TextSupervisionConfig())
    torch.save(_terms_and_gradients(model, _share(_shared_by_some(), rank)), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_the_target_of_the_contrast_and_of_the_reconstruction_get_no_gradient(objective: TextSupervision) -> None:
    system = objective.eval().system
    features = system(batch(), features=objective.requires).features
    terms = objective(batch(), 0)
    reached = torch.autograd.grad(terms["reconstruction"], system.sentence.weight, allow_unused=True)
    assert reached == (None,)
    matches = system.match(features["sentence"], features["slots"])
    expected = image_contrast(features["sentence"].detach(), matches, torch.arange(3))
    (found,) = torch.autograd.grad(terms["contrastive"], system.sentence.weight)
    (wanted,) = torch.autograd.grad(expected, system.sentence.weight)
    torch.testing.assert_close(found, wanted)


def test_a_batch_of_one_is_refused(objective: TextSupervision) -> None:
    with pytest.raises(InputError, match="batch of 1 image has nothing to contrast"):
        objective.train()(batch(1), 0)


def test_it_needs_the_whole_batch_and_no_labels(objective: TextSupervision) -> None:
    assert objective.needs_whole_batch
    assert objective.takes_unlabelled


def test_a_system_that_cannot_match_is_refused() -> None:
    with pytest.raises(InputError, match="Linear does not fuse sentences with other images"):
        TextSupervision(nn.Linear(1, 1))


@pytest.mark.parametrize(
    "change", [{"contrastive_weight": -1.0}, {"reconstruction_weight": float("nan")}, {"warmup_steps": -1}]
)
def test_a_weight_that_is_not_positive_or_zero_is_refused(change: dict) -> None:
    (name,) = change
    with pytest.raises(InputError, match=f"{name} is {change[name]}; expected 0 or more"):
        TextSupervisionConfig(**change)


def test_a_temperature_divides_the_products(objective: TextSupervision) -> None:
    given = batch()
    found = objective.eval().system(given, features=objective.requires).features
    matches = objective.system.match(found["sentence"], found["slots"])
    cold = TextSupervision(objective.system, TextSupervisionConfig(temperature=0.5)).eval()
    expected = image_contrast(2 * found["sentence"], matches, torch.arange(3))
    torch.testing.assert_close(cold(given, 0)["contrastive"], expected)


def test_shared_images_are_encoded_once_and_are_no_negatives_of_themselves(objective: TextSupervision) -> None:
    given = batch()
    shared = replace(given, images=given.images[:2], image_index=torch.tensor([0, 1, 1]))
    one = TextSupervision(objective.system, TextSupervisionConfig(warmup_steps=0, shared_images=True)).train()
    counts: list[int] = []
    objective.system.vision.register_forward_hook(lambda _, images, output: counts.append(len(output)))
    torch.manual_seed(3)
    found = one(shared, 0)["contrastive"]
    torch.manual_seed(3)
    features = one.system(shared, features=one.requires).features
    matches = one.system.match(features["sentence"], features["slots"])
    assert matches.shape[:2] == (3, 2)
    torch.testing.assert_close(found, image_contrast(features["sentence"], matches, torch.tensor([0, 1, 1])))
    assert counts == [2, 2]


def test_processes_cannot_share_images(objective: TextSupervision, monkeypatch: pytest.MonkeyPatch) -> None:
    one = TextSupervision(objective.system, TextSupervisionConfig(shared_images=True)).train()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(InputError, match="Several processes cannot share the images"):
        one(batch(), 0)


def test_a_sentence_is_a_fixed_target_unless_it_may_be_trained_as_one(objective: TextSupervision) -> None:
    def gradient(detached: bool) -> torch.Tensor:
        config = TextSupervisionConfig(warmup_steps=0, detached=detached)
        objective.system.zero_grad()
        torch.manual_seed(3)
        TextSupervision(objective.system, config).train()(batch(), 0)["contrastive"].backward()
        return objective.system.sentence.weight.grad.clone()

    fixed, trained = gradient(True), gradient(False)
    assert fixed.any()
    assert not torch.allclose(fixed, trained)


def test_some_patches_have_the_mean_error_of_all(objective: TextSupervision) -> None:
    given = batch()
    some = TextSupervision(objective.system, TextSupervisionConfig(warmup_steps=0, reconstructed=0.5)).train()
    whole = TextSupervision(objective.system, TextSupervisionConfig(warmup_steps=0)).train()

    def error(objective: TextSupervision, seed: int) -> float:
        objective.system.discovery.start.forward = lambda noise: noise.new_ones(noise.shape)  # the same slots each time
        torch.manual_seed(seed)
        return objective(given, 0)["reconstruction"].item()

    found = [error(some, seed) for seed in range(60)]
    assert min(found) < max(found)
    assert sum(found) / len(found) == pytest.approx(error(whole, 0), rel=0.05)
    assert some.eval()(given, 0)["reconstruction"].item() == pytest.approx(error(whole, 0), rel=1e-5)


@pytest.mark.parametrize("change", [{"temperature": 0.0}, {"reconstructed": 0.0}, {"reconstructed": 1.5}])
def test_an_option_out_of_range_is_one_sentence(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(change))} is"):
        TextSupervisionConfig(**change)
