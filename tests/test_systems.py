"""The promises that every system keeps."""

import copy
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch._dynamo.utils import counters
from torch.profiler import profile

from deixis.batch import Batch, Output
from deixis.checkpoints import native
from deixis.checkpoints.configs import from_dict, to_dict
from deixis.compiling import OLDEST, compile_once
from deixis.data.transforms import Preprocess
from deixis.errors import InputError, ModelError
from deixis.models.cmdyconv import CMDyConvConfig
from deixis.models.cmpc import CLIP_LEVELS, CMPCConfig
from deixis.models.cmsa import CMSAConfig
from deixis.models.groupvit import GroupViTConfig
from deixis.models.late_fusion import LateFusionConfig
from deixis.models.lavt import LAVTConfig
from deixis.models.magnet import MagNetConfig
from deixis.models.maskclip import MaskCLIPConfig
from deixis.models.proposal_matching import ProposalMatchingConfig
from deixis.models.sag import SaGConfig
from deixis.models.sda import SDAConfig
from deixis.models.tseg import TSEGConfig
from deixis.models.vega import VEGAConfig
from deixis.objectives.image_text import ImageText
from deixis.objectives.text_supervision import TextSupervision, TextSupervisionConfig
from deixis.predict.compiled import Compiled
from deixis.system import Adaptable, EncodesImages, System
from deixis.text.bert import BertConfig
from deixis.text.glove import WordConfig
from deixis.text.gru import GRUConfig
from deixis.vision.i3d import I3DConfig
from deixis.vision.nanodet import NanoDetConfig
from deixis.vision.resnet import ResNetConfig
from deixis.vision.swin import SwinConfig
from deixis.vision.vit import ViTConfig
from deixis.zoo.systems import SYSTEMS, name_of

VISION = SwinConfig(embed_dim=8, depths=(1, 1, 2, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0)
TEXT = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24, dropout=0.0)
CLIP_TEXT: dict[str, Any] = {
    "text_layers": 1,
    "text_width": 16,
    "text_heads": 2,
    "text_feed_forward": 32,
    "vocabulary": 40,
    "positions": 24,
}
VIT: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "vision_width": 16,
    "vision_heads": 2,
    "vision_feed_forward": 32,
    "width": 16,
}
TINY: dict[str, Any] = {
    "cmdyconv": CMDyConvConfig(
        vision=I3DConfig(levels=("Mixed_4f",), width=12),
        text=GRUConfig(vocabulary=40, embedding=12, width=16),
        width=16,
        groups=4,
        decoder_width=8,
    ),
    "cmpc": CMPCConfig(
        vision=ResNetConfig(depths=(1, 1, 2, 1), width=4),
        text=WordConfig(vocabulary=40, embedding=12),
        width=16,
        fused_width=12,
        heads=2,
    ),
    "cmsa": CMSAConfig(
        vision=ResNetConfig(depths=(1, 1, 2, 1), width=4),
        text=WordConfig(vocabulary=40, embedding=12),
        width=16,
        narrowed=(8, 8),
        attention_widths=(8, 8, 8),
        fused_width=12,
    ),
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
    "groupvit": GroupViTConfig(
        depths=(1, 1, 1),
        group_tokens=(6, 3, 0),
        output_groups=(6, 3, 0),
        projection_width=32,
        dummy=(1, 7, 2),
        **VIT,
        **CLIP_TEXT,
    ),
    "late_fusion": LateFusionConfig(vision=VISION, text=TEXT, width=16),
    "proposal_matching": ProposalMatchingConfig(
        detector=NanoDetConfig(stem=4, widths=(4, 4, 4, 4), depths=(1, 1, 1, 1), neck=8, classes=5),
        text=GRUConfig(vocabulary=40, embedding=12, width=16),
        proposals=200,  # all cells, so that each of the detector's heads is trained
        width=16,
        heads=2,
        layers=1,
        mask_width=8,
    ),
    "sag": SaGConfig(
        vision=ViTConfig(layers=2, width=16, heads=2, grid=4, drop_path=0.0),
        text=TEXT,
        width=16,
        gaussians=3,
        samples=2,
        iterations=2,
        heads=2,
        head_width=8,
        interaction_head_width=8,
        fusion_head_width=8,
        dropout=0.0,
    ),
    "sda": SDAConfig(
        vision=ResNetConfig(depths=(1, 1, 2, 1), width=4),
        text=GRUConfig(vocabulary=40, embedding=12, width=16),
        width=16,
        decoder_width=8,
        regions=20,
        compactness=100.0,  # in noise, whose colours form no regions, a smaller one gives a single region
    ),
    "maskclip": MaskCLIPConfig(vision_layers=2, **VIT, **CLIP_TEXT),
    "tseg": TSEGConfig(text=TEXT, vision_layers=2, **VIT),
    "vega": VEGAConfig(vision=VISION, text=TEXT, width=32, heads=2, decoder_widths=(16, 16, 24)),
}
# The systems that see the frames around the target, those of one name with an encoder of clips among them.
ON_CLIPS: dict[str, Any] = {
    "cmdyconv": TINY["cmdyconv"],
    "cmpc_on_clips": replace(TINY["cmpc"], vision=I3DConfig(levels=CLIP_LEVELS, width=12)),
    "sda_on_clips": replace(TINY["sda"], vision=I3DConfig(width=12)),
}
EVERY = TINY | ON_CLIPS
CLIP = 9  # frames, of which the coarsest map of I3D still has two


WORD_PIECES = "text.bert.embeddings.word_embeddings.weight"
# The largest difference between a logit in a batch and the same logit alone, in standard deviations of the logits: in
# float32, on one thread. No system is bitwise equal, because matrix products add in another order for another number of
# rows; the systems that select pixels or mask their attention amplify the difference.
BATCH_TOLERANCE = {
    "cmdyconv": 5e-5,
    "cmpc": 5e-5,
    "cmsa": 5e-5,
    "groupvit": 3e-4,
    "late_fusion": 5e-5,
    "lavt": 5e-5,
    "magnet": 3e-4,
    "maskclip": 3e-4,
    "proposal_matching": 3e-4,
    "sag": 1e-3,
    "sda": 5e-5,
    "tseg": 3e-4,
    "vega": 3e-4,
}
# The mean difference between logits in half and in single precision, where it is not 0.1 standard deviations: the hard
# assignments of a GroupViT with random weights are near ties, and so are the proposals of a ProposalMatching. Its
# scores have a test of their own, at 0.1.
HALF_TOLERANCE = {"groupvit": 0.5, "proposal_matching": 0.5}
# Trained on pairs of images and sentences: they have no loss of masks.
WITHOUT_MASKS = {"groupvit", "maskclip", "sag", "tseg"}
WITH_MASKS = sorted(set(EVERY) - WITHOUT_MASKS)
# The module of a system's vision half that runs once for each image.
VISION_HALF = {
    "cmdyconv": "vision",
    "cmpc": "vision",
    "cmsa": "vision",
    "groupvit": "groupvit.vision_model.embeddings",
    "late_fusion": "fusion",
    "maskclip": "clip.vision_model.embeddings",
    "proposal_matching": "detector.stem",
    "sag": "vision",
    "sda": "vision",
    "tseg": "vision.embeddings",
}
INPUT_TABLE = {
    "cmdyconv": "text.words.weight",
    "cmpc": "text.words.weight",
    "cmsa": "words.weight",
    "groupvit": "groupvit.text_model.embeddings.token_embedding.weight",
    "maskclip": "clip.text_model.embeddings.token_embedding.weight",
    "proposal_matching": "text.words.weight",
    "sda": "text.words.weight",
}


def marked(name: str) -> Any:
    """As a parameter: CMPC's encoder of clips is that of SDA, and its other parts are those of CMPC on images."""
    return pytest.param(name, marks=pytest.mark.slow) if name == "cmpc_on_clips" else name


def num_frames(config: Any) -> int:
    """Of the clips that a system is tested on."""
    return CLIP if config in ON_CLIPS.values() else 1


FRAMES = [1]  # of the clips in `batch`, by the system under test


def batch(count: int = 3, tokens: int = 7, height: int = 72, width: int = 88) -> Batch:
    """Expressions of different lengths, each with an image or a clip of its own and a mask."""
    draw = torch.Generator().manual_seed(5)
    lengths = torch.tensor([tokens - number % (tokens - 2) for number in range(count)])
    return Batch(
        images=torch.randn(count, FRAMES[0], 3, height, width, generator=draw),
        token_ids=torch.randint(1, 40, (count, tokens), generator=draw),
        token_mask=torch.arange(tokens) < lengths[:, None],
        masks=torch.rand(count, height, width, generator=draw) > 0.7,
    )


def precise_batch() -> Batch:
    return replace(plain := batch(), images=plain.images.double())


def part(whole: Batch, place: int) -> Batch:
    """The batch of one expression."""
    one = slice(place, place + 1)
    return Batch(images=whole.images[one], token_ids=whole.token_ids[one], token_mask=whole.token_mask[one])


def loss_terms(system: Any, given: Batch) -> dict[str, Tensor]:
    return system.loss(given, system(given, features=system.loss_features))


def weak_objective(system: Any) -> Any:
    """The objective of a system without a loss of masks."""
    if name_of(system.config) == "sag":
        return TextSupervision(system, TextSupervisionConfig(warmup_steps=0))
    return ImageText(system)


def promised(system: Any) -> tuple[str, ...]:
    """The features that the system offers: those of every system, and those of its own loss."""
    return (
        *system.feature_widths,
        *(("attention",) if "visual" in system.feature_widths else ()),
        *system.loss_features,
    )


def named_tensors(features: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the features, some of which are lists."""
    for name, value in features.items():
        yield from ((name, each) for each in (value if isinstance(value, list) else [value]))


def built(config: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys.modules[__name__], "FRAMES", [num_frames(config)])
    torch.manual_seed(11)
    return config.build().eval()


@pytest.fixture(params=[marked(name) for name in sorted(EVERY)])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    return built(EVERY[request.param], monkeypatch)


@pytest.fixture(params=[marked(name) for name in WITH_MASKS])
def supervised(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A system with a loss of masks."""
    return built(EVERY[request.param], monkeypatch)


@pytest.fixture(params=sorted(WITHOUT_MASKS))
def weak(request: pytest.FixtureRequest) -> Any:
    """A system with a loss of pairs of images and sentences."""
    torch.manual_seed(11)
    return TINY[request.param].build().eval()


@pytest.fixture
def precise(system: Any) -> Any:
    """In double precision: norms over a few nearly equal words amplify the rounding of single precision."""
    return system.double()


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_listed_system_is_tested_here() -> None:
    assert set(SYSTEMS) == set(TINY) == set(BATCH_TOLERANCE)


def test_the_page_of_numerical_guarantees_has_this_table() -> None:
    page = (Path(__file__).parents[1] / "docs" / "numerics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w ]+) \| 1e-6 \| ([\de-]+) \|$", page, flags=re.MULTILINE)
    assert {name.lower().replace(" ", "_"): float(bound) for name, bound in rows} == BATCH_TOLERANCE


def test_it_is_a_system_whose_logits_have_the_images_size(system: Any) -> None:
    assert isinstance(system, System)
    for height, width in ((72, 88), (64, 64), (33, 47)):
        output = system(batch(height=height, width=width))
        assert isinstance(output, Output)
        assert output.logits.shape == (3, height, width)
        assert output.logits.isfinite().all()


def test_presence_is_one_logit_per_expression_or_none(system: Any) -> None:
    presence = system(batch()).presence
    assert (presence is None) == (name_of(system.config) not in {"magnet", "proposal_matching"})
    assert presence is None or (presence.shape == (3,) and presence.isfinite().all())


def test_features_and_explain_change_no_logit(system: Any) -> None:
    plain = system(given := batch())
    for features, explain in ((promised(system), False), ((), True), (promised(system), True)):
        output = system(given, features=features, explain=explain)
        assert torch.equal(output.logits, plain.logits)
        assert plain.presence is None or torch.equal(output.presence, plain.presence)


def test_the_output_does_not_depend_on_whether_gradients_are_on(system: Any) -> None:
    given = batch()
    recorded = system(given, features=promised(system), explain=True)
    with torch.no_grad():
        output = system(given, features=promised(system), explain=True)
    assert output.features.keys() == recorded.features.keys()
    assert output.evidence.keys() == recorded.evidence.keys()
    torch.testing.assert_close(output.logits, recorded.logits, atol=1e-5, rtol=0)


def test_a_missing_feature_raises_the_one_error(system: Any) -> None:
    with pytest.raises(ModelError, match=r"needs the features colours, but \w+ has query, .*choose another objective"):
        system(batch(), features=("query", "colours"))


def test_only_the_named_features_are_returned(system: Any) -> None:
    assert system(batch()).features == {}
    for name in promised(system):
        assert set(system(batch(), features=(name,)).features) == {name}


def test_every_feature_has_its_promised_shape(system: Any) -> None:
    given, widths = batch(), system.feature_widths
    features = system(given, features=promised(system)).features
    assert features["query"].shape == (3, 7, widths["query"])
    assert features["embeddings"].shape == (3, 7, widths["embeddings"])
    if "visual" in widths:
        assert features["visual"].shape == (3, widths["visual"], 3, 3)  # stride 32 of 72 x 88
        assert features["attention"].shape == (3, 9, 7)


def test_every_feature_but_the_fixed_embeddings_has_a_gradient(system: Any) -> None:
    features = system(batch(), features=promised(system)).features
    draw = torch.Generator().manual_seed(3)
    assert not features["embeddings"].requires_grad
    for name, feature in named_tensors(features):
        if name == "embeddings":
            continue
        pull = torch.randn(feature.shape, generator=draw)  # a plain sum is constant after a norm or a softmax
        slopes = torch.autograd.grad(feature, tuple(system.parameters()), pull, retain_graph=True, allow_unused=True)
        assert any(slope is not None and slope.any() for slope in slopes), name


def test_embeddings_are_the_rows_of_the_text_encoders_input_table(system: Any) -> None:
    name = "text.words.weight" if system.config.tokenizer == "words" else WORD_PIECES
    name = INPUT_TABLE.get(name_of(system.config), "text.bert.embeddings.word_embeddings.weight")
    table = system.state_dict()[name]
    assert torch.equal(system(batch(), features=("embeddings",)).features["embeddings"], table[batch().token_ids])


def test_attention_is_that_of_the_last_stage_without_special_tokens_and_sums_to_one(system: Any) -> None:
    if "visual" not in system.feature_widths:
        pytest.skip("its pixels do not attend to words")
    given = batch()
    output = system(given, features=("attention",), explain=True)
    every = rearrange(evidence_of_last_stage(system, output), "b l y x -> b (y x) l")
    inner = given.token_mask.clone()
    if system.config.tokenizer == "wordpiece":
        inner[:, 0] = False  # [CLS]
        inner[torch.arange(3), given.token_mask.sum(1) - 1] = False  # [SEP]
    expected = every * inner[:, None] / (every * inner[:, None]).sum(-1, keepdim=True)
    torch.testing.assert_close(output.features["attention"], expected)
    torch.testing.assert_close(output.features["attention"].sum(-1), torch.ones(3, 9))


def evidence_of_last_stage(system: Any, output: Output) -> Tensor:
    """The last stage's attention to each word, `[b l y x]`, which VEGA does not show."""
    if "pixel_word_attention_4" in output.evidence:
        return output.evidence["pixel_word_attention_4"]
    return system.fuse(batch()).encoded.evidence()["pixel_word_attention_4"]


def test_there_is_no_evidence_unless_it_is_asked_for(system: Any) -> None:
    for training in (True, False):
        system.train(training)
        assert system(batch(), features=promised(system)).evidence == {}


def test_evidence_has_a_value_for_each_expression_and_no_gradient(system: Any) -> None:
    evidence = system.train()(batch(), explain=True).evidence
    assert evidence
    for name, values in evidence.items():
        assert not values.requires_grad, name
        assert len(values) == 3, name


def test_the_loss_reads_the_features_that_it_names(supervised: Any) -> None:
    given = batch()
    output = supervised(given, features=supervised.loss_features, explain=True)
    terms = supervised.loss(given, output)
    assert terms
    bare = replace(output, evidence={})
    assert all(torch.equal(term, terms[name]) for name, term in supervised.loss(given, bare).items())
    if supervised.loss_features:
        with pytest.raises(InputError, match=f"reads the features {', '.join(supervised.loss_features)}.*has none"):
            supervised.loss(given, supervised(given))


def test_decoding_what_was_fused_is_the_whole_system_and_the_decoder_can_be_replaced(system: Any) -> None:
    if not isinstance(system, Adaptable):
        assert (
            name_of(system.config)
            in {"cmdyconv", "cmpc", "cmsa", "late_fusion", "magnet", "proposal_matching"} | WITHOUT_MASKS
        )
        pytest.skip("it is not adaptable")
    given = batch()
    expected = system(given).logits
    fused = system.fuse(given)
    copied = copy.deepcopy(system.decoder)
    assert torch.equal(system.decode(fused).logits, expected)
    assert torch.equal(system.decode(fused, copied).logits, expected)
    with torch.no_grad():
        for weight in copied.parameters():
            weight += 0.1
    responses = [name for name in system.loss_features if name == "responses"]  # the maps of other resolutions
    output = system.decode(fused, copied, features=responses)
    assert not torch.equal(output.logits, expected)
    assert torch.equal(system.decode(fused).logits, expected)
    maps = [output.logits, *(each for _, each in named_tensors(output.features))]
    torch.stack([each.square().sum() for each in maps]).sum().backward()
    assert all(weight.grad is not None for weight in copied.parameters())
    assert all(weight.grad is None for weight in system.decoder.parameters())
    assert any(weight.grad is not None for weight in system.fusion.parameters())


def test_a_hundred_expressions_on_one_image_run_the_vision_half_once(system: Any) -> None:
    if not isinstance(system, EncodesImages):
        assert name_of(system.config) in {"lavt", "magnet", "vega"}, "its image encoder does not read the words"
        pytest.skip("its image encoder reads the words")
    expressions = batch(count=100)
    one_image = replace(
        expressions, images=expressions.images[:1], image_index=torch.zeros(100, dtype=torch.long), masks=None
    )
    calls: list[int] = []
    vision_half = system.get_submodule(VISION_HALF[name_of(system.config)])

    def count_images(layer: Any, images: Any, made: Any) -> None:
        calls.append(len(made if isinstance(made, Tensor) else made[0]))

    vision_half.register_forward_hook(count_images)
    expected = system(one_image, features=("query",), explain=True)
    assert calls == [1]
    encoded = system.encode_images(one_image.images)
    for place in range(0, 100, 7):
        alone = replace(part(expressions, place), images=one_image.images)
        output = system.decode_expressions(encoded, alone, features=("query",), explain=True)
        torch.testing.assert_close(output.logits[0], expected.logits[place])
        torch.testing.assert_close(output.features["query"][0], expected.features["query"][place])
        for name, values in output.evidence.items():
            torch.testing.assert_close(values[0], expected.evidence[name][place])
    assert calls == [1, 1]


def test_a_system_of_clips_sees_every_frame(system: Any) -> None:
    if system.config not in ON_CLIPS.values():
        pytest.skip("it sees the target frame")
    plain = batch()
    for frame in range(CLIP):
        changed = plain.images.clone()
        changed[:, frame] = changed[:, frame].flip(-1)
        assert not torch.equal(system(replace(plain, images=changed)).logits, system(plain).logits), frame


def test_an_image_is_a_clip_of_one_frame(system: Any) -> None:
    given = batch()
    still = replace(given, images=given.target_frames()[:, None])
    assert system(still).logits.isfinite().all()


def test_a_clip_is_seen_at_its_target_frame(system: Any) -> None:
    if system.config in ON_CLIPS.values():
        pytest.skip("it sees all frames")
    plain = batch()
    clip = torch.randn(3, 3, 3, 72, 88, generator=torch.Generator().manual_seed(9))
    frames = torch.tensor([2, 0, 1])
    clip[torch.arange(3), frames] = plain.images[:, 0]
    expected = system(plain).logits
    torch.testing.assert_close(system(replace(plain, images=clip, frames=frames)).logits, expected)
    middle = torch.cat((clip[:, :1], plain.images, clip[:, :1]), dim=1)
    torch.testing.assert_close(system(replace(plain, images=middle)).logits, expected)


def test_padding_tokens_change_nothing(precise: Any) -> None:
    plain = precise_batch()
    padded = replace(
        plain,
        token_ids=torch.cat((plain.token_ids, torch.full((3, 5), 17)), dim=1),
        token_mask=torch.cat((plain.token_mask, torch.zeros(3, 5, dtype=torch.bool)), dim=1),
    )
    torch.testing.assert_close(precise(padded).logits, precise(plain).logits, atol=1e-6, rtol=0)


def test_the_ids_of_padding_tokens_change_nothing(precise: Any) -> None:
    plain = precise_batch()
    changed = replace(plain, token_ids=torch.where(plain.token_mask, plain.token_ids, 33))
    assert not torch.equal(changed.token_ids, plain.token_ids)
    torch.testing.assert_close(precise(changed).logits, precise(plain).logits, atol=1e-6, rtol=0)


def test_a_batch_equals_its_expressions_one_by_one(precise: Any) -> None:
    together = precise_batch()
    for place in range(3):
        alone = precise(part(together, place)).logits[0]
        torch.testing.assert_close(alone, precise(together).logits[place], atol=1e-6, rtol=0)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("count", "tokens", "height", "width"), [(3, 7, 72, 88), (8, 20, 96, 96)], ids=str)
def test_in_single_precision_a_batch_equals_its_expressions_within_the_table(
    system: Any, count: int, tokens: int, height: int, width: int
) -> None:
    whole = batch(count, tokens, height, width)
    with torch.no_grad():
        together = system(whole).logits
        alone = torch.cat([system(part(whole, place)).logits for place in range(count)])
    assert (alone - together).abs().max() <= BATCH_TOLERANCE[name_of(system.config)] * together.std()


def test_expressions_that_share_an_image_get_the_logits_that_they_get_alone(precise: Any) -> None:
    plain = precise_batch()
    index = torch.tensor([1, 0, 1])
    shared = replace(plain, images=plain.images[:2], image_index=index)
    unshared = replace(plain, images=plain.images[:2][index])
    torch.testing.assert_close(precise(shared).logits, precise(unshared).logits, atol=1e-6, rtol=0)


def test_the_words_matter(system: Any) -> None:
    plain = batch()
    other = replace(plain, token_ids=(plain.token_ids + 11) % 39 + 1)
    assert (system(other).logits - system(plain).logits).abs().max() > 1e-4


def test_every_weight_gets_a_gradient_from_the_loss_terms(supervised: Any) -> None:
    terms = loss_terms(supervised.train(), batch())
    assert terms
    assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    still = [name for name, weight in supervised.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_every_weight_that_a_map_depends_on_gets_a_gradient_from_the_loss_of_pairs(weak: Any) -> None:
    """Of images and sentences without a mask; a bias that shifts all scores of a softmax alike has none."""
    objective = weak_objective(weak.train()).train()
    terms = objective(replace(batch(), masks=None), 0)
    assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    still = [name for name, weight in weak.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@pytest.mark.parametrize("absent", [[True, True, True], [True, False, True]], ids=["all", "some"])
def test_it_learns_from_expressions_without_a_referent(supervised: Any, absent: list[bool]) -> None:
    given = batch()
    assert given.masks is not None
    empty = replace(given, masks=given.masks & ~torch.tensor(absent)[:, None, None])
    terms = loss_terms(supervised.train(), empty)
    assert all(term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    slopes = [weight.grad for weight in supervised.parameters() if weight.grad is not None]
    assert all(slope.isfinite().all() for slope in slopes)
    assert any(slope.any() for slope in slopes)


def test_a_loss_without_masks_is_an_error(supervised: Any) -> None:
    unlabelled = replace(batch(), masks=None)
    with pytest.raises(InputError, match="loss needs masks, but this batch has none"):
        loss_terms(supervised, unlabelled)


def deviation(logits: Tensor, exact: Tensor) -> float:
    """The mean difference, in standard deviations of the exact logits."""
    return ((logits.float() - exact).abs().mean() / exact.std()).item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_half_precision_give_nearly_the_same_logits(system: Any, dtype: torch.dtype) -> None:
    given = batch()
    with torch.no_grad():
        exact = system(given).logits
        narrow = replace(given, images=given.images.to(dtype))
        output = system.to(dtype)(narrow, features=promised(system), explain=True)
    # SaG's masks depend on small differences of its map, which half precision does not resolve.
    assert output.logits.dtype == (torch.float32 if name_of(system.config) == "sag" else dtype)
    assert deviation(output.logits, exact) < HALF_TOLERANCE.get(name_of(system.config), 0.1)
    for _, values in (*output.evidence.items(), *named_tensors(output.features)):
        assert not values.is_floating_point() or values.isfinite().all()


def test_autocast_to_half_precision_gives_nearly_the_same_logits_and_losses(supervised: Any) -> None:
    given = batch()
    exact = supervised(given, features=supervised.loss_features)
    exact_terms = supervised.loss(given, exact)
    with torch.autocast("cpu", torch.bfloat16):
        output = supervised(given, features=supervised.loss_features)
    assert deviation(output.logits.detach(), exact.logits.detach()) < HALF_TOLERANCE.get(
        name_of(supervised.config), 0.1
    )
    terms = supervised.loss(given, output.float())
    for name, term in terms.items():
        torch.testing.assert_close(term, exact_terms[name], rtol=0.02, atol=0)
    torch.stack(list(terms.values())).sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in supervised.parameters())


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
@pytest.mark.skipif(torch.__version__ < OLDEST, reason="older compilers are refused")
@pytest.mark.parametrize("name", WITH_MASKS)
def test_compiled_once_it_gives_the_same_losses_and_gradients(name: str) -> None:
    call_alone("compare_compiled", name)


def call_alone(function: str, name: str) -> None:
    """In a process of its own, without checks of shapes, which the compiler cannot trace."""
    command = f"import sys, test_systems; test_systems.{function}(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-c", command, name], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]


def compare_compiled(name: str) -> None:
    FRAMES[0] = num_frames(EVERY[name])
    torch.manual_seed(11)
    plain: Any = EVERY[name].build().eval()
    with torch.no_grad():  # as after some steps: deformable attention starts on the pixels' centres, where slopes jump
        for weight in plain.parameters():
            weight += 0.02 * torch.randn_like(weight)
    compiled, given, found = copy.deepcopy(plain), batch(), []
    compile_once(compiled)
    compiled(given, features=plain.loss_features)
    assert not counters["graph_break"]
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(given, features=plain.loss_features)
    for system in (plain, compiled):
        terms = loss_terms(system, given)
        torch.stack(list(terms.values())).sum().backward()
        found.append((terms, [weight.grad for weight in system.parameters()]))
    (terms, gradients), (own_terms, own_gradients) = found
    torch.testing.assert_close(own_terms, terms, rtol=1e-4, atol=0)
    sizes = [right.abs().max().item() for right in gradients]
    nothing = 1e-6 * max(sizes)  # a key's bias shifts all scores alike: its gradient is zero but for rounding
    for own, right, size in zip(own_gradients, gradients, sizes, strict=True):
        torch.testing.assert_close(own, right, atol=0.01 * size if size > nothing else nothing, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < OLDEST, reason="older compilers are refused")
@pytest.mark.parametrize("name", WITH_MASKS)
def test_compiled_for_prediction_it_compiles_once_and_gives_equally_exact_logits(name: str) -> None:
    call_alone("compare_predictions", name)


def compare_predictions(name: str) -> None:
    """In bfloat16, where attention uses the processor's own kernels: compiled logits are as near to exact ones."""
    FRAMES[0] = num_frames(EVERY[name])
    torch.manual_seed(11)
    exact: Any = EVERY[name].build().eval().requires_grad_(False)
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
