"""The promises that every system keeps, whichever it is."""

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.profiler import profile

from deixis.batch import Batch, Output
from deixis.checkpoints import native
from deixis.checkpoints.configs import from_dict, to_dict
from deixis.compiling import LEAST, compile_once
from deixis.data.transforms import Preprocess
from deixis.models.late_fusion import LateFusionConfig
from deixis.models.lavt import LAVTConfig
from deixis.models.magnet import MagNetConfig
from deixis.models.vega import VEGAConfig
from deixis.predict.compiled import Compiled
from deixis.system import System
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig
from deixis.zoo.systems import SYSTEMS, name_of

VISION = SwinConfig(embed_dim=8, depths=(1, 1, 2, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0)
TEXT = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24, dropout=0.0)
TINY: dict[str, Any] = {
    "lavt": LAVTConfig(vision=VISION, text=TEXT),
    "magnet": MagNetConfig(
        vision=VISION,
        text=replace(TEXT, layers=4),
        width=64,  # two channels in each of the pixel decoder's groups: of one alone, a norm takes the bias away
        mask_width=16,
        heads=2,
        pixel_layers=1,
        pixel_feed_forward=32,
        query_layers=3,
        query_feed_forward=32,
    ),
    "late_fusion": LateFusionConfig(vision=VISION, text=TEXT, width=16),
    "vega": VEGAConfig(vision=VISION, text=TEXT, width=32, heads=2, decoder_widths=(16, 16, 24)),
}


def batch(count: int = 3, words: int = 7, height: int = 72, width: int = 88) -> Batch:
    """Expressions of different lengths about images of their own, with masks."""
    draw = torch.Generator().manual_seed(5)
    lengths = torch.tensor([words - number % (words - 2) for number in range(count)])
    return Batch(
        images=torch.randn(count, 1, 3, height, width, generator=draw),
        token_ids=torch.randint(1, 40, (count, words), generator=draw),
        token_mask=torch.arange(words) < lengths[:, None],
        masks=torch.rand(count, height, width, generator=draw) > 0.7,
    )


def precise_batch() -> Batch:
    return replace(plain := batch(), images=plain.images.double())


@pytest.fixture(params=sorted(TINY))
def system(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(11)
    return TINY[request.param].build().eval()


@pytest.fixture
def precise(system: Any) -> Any:
    """In double precision: norms over a few nearly equal words make much of single precision's rounding."""
    return system.double()


def test_every_listed_system_is_held_to_the_promises() -> None:
    assert set(SYSTEMS) == set(TINY), "a system is not held to the promises of this file"


def test_it_is_a_system_whose_logits_have_the_images_size(system: Any) -> None:
    assert isinstance(system, System)
    for height, width in ((72, 88), (64, 64), (33, 47)):
        output = system(batch(height=height, width=width))
        assert isinstance(output, Output)
        assert output.logits.shape == (3, height, width)
        assert output.logits.isfinite().all()


def test_padding_words_change_nothing(precise: Any) -> None:
    plain = precise_batch()
    padded = replace(
        plain,
        token_ids=torch.cat((plain.token_ids, torch.full((3, 5), 17)), dim=1),
        token_mask=torch.cat((plain.token_mask, torch.zeros(3, 5, dtype=torch.bool)), dim=1),
    )
    torch.testing.assert_close(precise(padded).logits, precise(plain).logits, atol=1e-6, rtol=0)


def test_what_stands_where_words_are_padded_changes_nothing(precise: Any) -> None:
    plain = precise_batch()
    changed = replace(plain, token_ids=torch.where(plain.token_mask, plain.token_ids, 33))
    assert not torch.equal(changed.token_ids, plain.token_ids)
    torch.testing.assert_close(precise(changed).logits, precise(plain).logits, atol=1e-6, rtol=0)


def test_a_batch_equals_its_expressions_one_by_one(precise: Any) -> None:
    together = precise_batch()
    for place in range(3):
        one = slice(place, place + 1)
        alone = Batch(
            images=together.images[one],
            token_ids=together.token_ids[one],
            token_mask=together.token_mask[one],
            masks=None,
        )
        torch.testing.assert_close(precise(alone).logits[0], precise(together).logits[place], atol=1e-6, rtol=0)


def test_sentences_that_share_an_image_get_what_they_would_get_alone(precise: Any) -> None:
    plain = precise_batch()
    index = torch.tensor([1, 0, 1])
    shared = replace(plain, images=plain.images[:2], image_index=index)
    unshared = replace(plain, images=plain.images[:2][index])
    torch.testing.assert_close(precise(shared).logits, precise(unshared).logits, atol=1e-6, rtol=0)


def test_the_words_matter(system: Any) -> None:
    plain = batch()
    other = replace(plain, token_ids=(plain.token_ids + 11) % 39 + 1)
    assert (system(other).logits - system(plain).logits).abs().max() > 1e-4


def test_every_weight_gets_a_gradient_from_the_loss_terms(system: Any) -> None:
    system.train()
    terms = system.loss(given := batch(), system(given))
    assert terms
    assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    still = [name for name, weight in system.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@pytest.mark.parametrize("share", ["all", "some"])
def test_it_learns_from_sentences_about_nothing(system: Any, share: str) -> None:
    given = batch()
    assert given.masks is not None
    absent = torch.ones(3, dtype=torch.bool) if share == "all" else torch.tensor([True, False, True])
    empty = replace(given, masks=given.masks & ~absent[:, None, None])
    terms = system.train().loss(empty, system(empty))
    assert all(term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    slopes = [weight.grad for weight in system.parameters() if weight.grad is not None]
    assert all(slope.isfinite().all() for slope in slopes)
    assert any(slope.any() for slope in slopes)


def test_without_masks_the_loss_says_what_it_wants(system: Any) -> None:
    weak = replace(batch(), masks=None)
    with pytest.raises(ValueError, match="masks"):
        system.loss(weak, system(weak))


def deviation(logits: Tensor, exact: Tensor) -> float:
    """The mean difference, in standard deviations of the exact answer."""
    return ((logits.float() - exact).abs().mean() / exact.std()).item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_half_precision_give_nearly_the_same_answer(system: Any, dtype: torch.dtype) -> None:
    given = batch()
    with torch.no_grad():
        exact = system(given).logits
        output = system.to(dtype)(replace(given, images=given.images.to(dtype)))
    assert output.logits.dtype == dtype
    assert deviation(output.logits, exact) < 0.1
    assert all(value.isfinite().all() for value in output.evidence.values() if value.is_floating_point())


def test_autocast_to_half_precision_gives_nearly_the_same_answer_and_losses(system: Any) -> None:
    given = batch()
    exact = system(given)
    exact_terms = system.loss(given, exact)
    with torch.autocast("cpu", torch.bfloat16):
        output = system(given)
    assert deviation(output.logits.detach(), exact.logits.detach()) < 0.1
    evidence = {name: value.float() if value.is_floating_point() else value for name, value in output.evidence.items()}
    terms = system.loss(given, Output(logits=output.logits.float(), evidence=evidence))
    for name, term in terms.items():
        torch.testing.assert_close(term, exact_terms[name], rtol=0.02, atol=0)
    torch.stack(list(terms.values())).sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in system.parameters())


def test_saved_and_loaded_it_gives_the_same_numbers(system: Any, tmp_path: Path) -> None:
    name = name_of(system.config)
    card = native.Card(
        system=name,
        config=to_dict(system.config),
        preprocess=Preprocess(image_size=64, max_tokens=8),
        description="tiny",
    )
    words = tuple(f"word{number}" for number in range(40))
    native.save(tmp_path / "saved", system.state_dict(), card, words)
    read = native.read(tmp_path / "saved")
    again: Any = from_dict(SYSTEMS[read.card.system], read.card.config).build().eval()  # type: ignore[attr-defined]
    native.fill(again, read.weights, "the copy")
    assert again.config == system.config
    assert torch.equal(again(batch()).logits, system(batch()).logits)


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < LEAST, reason="older compilers are refused")
@pytest.mark.parametrize("name", sorted(TINY))
def test_compiled_once_it_gives_the_same_losses_and_gradients(name: str) -> None:
    call_alone("compare_compiled", name)


def call_alone(function: str, name: str) -> None:
    """In a process of its own, where functions do not check their arguments: the compiler cannot look through that."""
    command = f"import sys, test_systems; test_systems.{function}(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-c", command, name], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]


def compare_compiled(name: str) -> None:
    torch.manual_seed(11)
    plain: Any = TINY[name].build().eval()
    with torch.no_grad():  # as after some steps: deformable attention begins on the pixels' centres, where slopes jump
        for weight in plain.parameters():
            weight += 0.02 * torch.randn_like(weight)
    compiled, given, found = copy.deepcopy(plain), batch(), []
    compile_once(compiled)
    compiled(given)
    assert not counters["graph_break"]
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(given)
    for system in (plain, compiled):
        terms = system.loss(given, system(given))
        torch.stack(list(terms.values())).sum().backward()
        found.append((terms, [weight.grad for weight in system.parameters()]))
    (terms, gradients), (own_terms, own_gradients) = found
    torch.testing.assert_close(own_terms, terms, rtol=1e-4, atol=0)
    sizes = [right.abs().max().item() for right in gradients]
    nothing = 1e-6 * max(sizes)  # a key's bias shifts all scores alike: its gradient is zero but for rounding
    for own, right, size in zip(own_gradients, gradients, sizes, strict=True):
        torch.testing.assert_close(own, right, atol=0.01 * size if size > nothing else nothing, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < LEAST, reason="older compilers are refused")
@pytest.mark.parametrize("name", sorted(TINY))
def test_compiled_for_answers_it_compiles_once_and_answers_alike(name: str) -> None:
    call_alone("compare_answers", name)


def compare_answers(name: str) -> None:
    """In bfloat16, whose attention is the processor's own: its answers, compiled, are as near to exact ones."""
    torch.manual_seed(11)
    exact: Any = TINY[name].build().eval().requires_grad_(False)
    plain, given = copy.deepcopy(exact).bfloat16(), batch()
    narrow = replace(given, images=given.images.bfloat16())
    compiled = Compiled(copy.deepcopy(plain), tokens=given.token_ids.shape[1] + 2)
    with torch.inference_mode():
        found = compiled(narrow)
        assert not counters["graph_break"]
        with torch.compiler.set_stance("fail_on_recompile"):
            compiled(replace(narrow, token_ids=narrow.token_ids[:, :-1], token_mask=narrow.token_mask[:, :-1]))
            with profile() as seen:
                compiled(narrow)
        packed = any("linear_pointwise" in event.key for event in seen.key_averages())
        assert packed or not torch.ops.mkldnn._is_mkldnn_bf16_supported()
        right = exact(given).logits
        (far, far_compiled), spread = ((each.logits - right).std() for each in (plain(narrow), found)), right.std()
    assert far_compiled < 1.5 * far
    assert far < 0.1 * spread
