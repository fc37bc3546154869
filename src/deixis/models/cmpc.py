"""CMPC-I and CMPC-V: cross-modal progressive comprehension of images and clips, as SDA's Appendix C.3 compares them.

CMPC-I is Shaofei Huang et al., CVPR 2020; CMPC-V is Si Liu et al., TPAMI 2021. SDA's table cites "CMPC-V (Hui et al.
2021)", which is another method, but describes CMPC-V; a config with I3D builds it.

- each word is an entity, an attribute, a relation or unnecessary, in parts
- entity perception: at each level the entity's and the attribute's words choose cells, by bilinear fusion
- relation reasoning: the chosen cells are a graph whose edges run through the relation's words
- text-guided exchange: each level takes from the other two what the sentence and its own context ask for, twice
- a convolutional LSTM reads the levels from fine to coarse; its last state is the answer
- CMPC-V: words are also actions; temporal reasoning pools every frame by them, and each cell gathers from the frames
- SDA's encoders: ResNet-101 or I3D, and GloVe; the coarser maps are enlarged to stride 8, where the published code has
  dilated convolutions. Masks: probability > 0.5
- loss: 0.7 times the binary cross-entropy of the answer, 0.1 times that of each level
- differs from the published code: the peepholes of the convolutional LSTM are one number for each channel instead of
  one for each channel and cell, so that any image size works; padding words are left out
- CMPC-V's published frames are five of sixteen, each through a ResNet; here they are the time steps of I3D's levels at
  strides 8, 16 and 32, and the target frame is their mean. Of 8 frames the coarsest level has one step, without a graph
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..layers.coordinates import NUM_COORDINATES, coordinates, unit
from ..layers.temporal_reasoning import NORM_EPSILON, TemporalReasoning, WholeNorm
from ..system import chosen_features
from ..text.glove import WordConfig, WordTable
from ..text.lstm import LSTM
from ..text.reads_text import ReadsText
from ..vision.i3d import I3D, I3DConfig
from ..vision.resnet import ResNet, ResNetConfig

LEVELS = 3  # the last stages of a ResNet
CLIP_LEVELS = ("Mixed_3c", "Mixed_4f", "Mixed_5c")  # of I3D: those of the same strides
ENTITY, ATTRIBUTE, RELATION, ACTION = range(4)  # kinds of words; the last kind is the unnecessary words
IMAGE_KINDS, CLIP_KINDS = 4, 5  # images have no actions


@dataclass(frozen=True, kw_only=True)
class CMPCConfig(ReadsText):
    """The defaults are the published network; `text.glove` is for a run that has a GloVe file.

    With `vision=I3DConfig(levels=CLIP_LEVELS)` it is CMPC-V, for clips. `width` is that of words and cells,
    `fused_width` that of the maps in which levels meet.
    """

    vision: ResNetConfig | I3DConfig = field(default_factory=ResNetConfig)
    text: WordConfig = field(default_factory=WordConfig)
    width: int = 1000
    fused_width: int = 500
    heads: int = 5  # of the bilinear fusion
    rounds: int = 2  # of the exchange between levels
    answer_weight: float = 0.7
    level_weight: float = 0.1

    def __post_init__(self) -> None:
        if min(self.width, self.fused_width, self.heads, self.rounds) < 1:
            raise InputError(
                f"CMPC's width is {self.width}, its fused_width {self.fused_width}, its heads {self.heads} and its "
                f"rounds {self.rounds}; expected positive numbers."
            )
        if not self.answer_weight > 0 or not self.level_weight >= 0:
            raise InputError(
                f"CMPC's answer_weight is {self.answer_weight} and its level_weight {self.level_weight}; expected a "
                "positive number and one of 0 or more."
            )

        if self.is_of_clips and len(self.vision.levels) != LEVELS:  # type: ignore[union-attr]
            raise InputError(
                f"CMPC-V reads {LEVELS} levels of I3D, but its config has another number of them; expected "
                f"{', '.join(CLIP_LEVELS)}."
            )

    @property
    def is_of_clips(self) -> bool:
        return isinstance(self.vision, I3DConfig)

    def build(self) -> "CMPC":
        return CMPC(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.vision.depth


@dataclass(frozen=True)
class Words:
    """The words of an expression: their vectors, and sums of them by what they are."""

    features: Float[Tensor, "b l d"]  # of unit length
    types: Float[Tensor, "b l kinds"]
    mask: Bool[Tensor, "b l"]
    entity: Float[Tensor, "b d"]  # of entities and attributes, of unit length
    sentence: Float[Tensor, "b d"]  # of all but the unnecessary words, of unit length
    action: Float[Tensor, "b d"] | None = None  # of actions, of unit length; of clips only


@dataclass(frozen=True)
class EncodedImages:
    """Unit vectors on the finest of the three grids, fine to coarse; `frames` are empty for images."""

    maps: list[Tensor]  # [i c y x]
    frames: list[Tensor]  # [i t c y x], of as many time steps as the level has


class CMPC(nn.Module):
    """Images, or clips, and expressions to one logit per pixel, of a clip's target frame.

    Expressions share the vision encoder's maps of their image.
    """

    loss_features: tuple[str, ...] = ("responses",)

    def __init__(self, config: CMPCConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CMPCConfig()
        vision, is_of_clips = config.vision, config.is_of_clips
        self.vision: I3D | ResNet = I3D(vision) if isinstance(vision, I3DConfig) else ResNet(vision)
        kinds = CLIP_KINDS if is_of_clips else IMAGE_KINDS
        self.text = TypedWords(config.text, config.width, config.fused_width, kinds)
        widths = self.vision.widths[-LEVELS:]
        self.projections = nn.ModuleList(nn.Conv2d(own, config.width, 1) for own in widths)
        self.levels = nn.ModuleList(
            Comprehension(config.width, config.fused_width, config.heads, is_of_clips=is_of_clips) for _ in widths
        )
        self.exchanges = nn.ModuleList(
            nn.ModuleList(Exchange(config.fused_width, config.width, LEVELS - 1) for _ in widths)
            for _ in range(config.rounds)
        )
        self.merge = LevelLSTM(config.fused_width)
        self.score = nn.Conv2d(config.fused_width, 1, 3, padding=1)
        self.level_scores = nn.ModuleList(nn.Conv2d(config.fused_width, 1, 3, padding=1) for _ in widths)

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.config.width, "embeddings": self.config.text.embedding}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        seen = batch.images if self.config.is_of_clips else batch.target_frames()[:, None]
        return self.decode_expressions(self.encode_images(seen), batch, features=features, explain=explain)

    def encode_images(self, images: Float[Tensor, "i t 3 h w"]) -> EncodedImages:
        if self.config.is_of_clips:
            stages = self.vision(rearrange(images, "i t c h w -> i c t h w"))
        else:
            stages = [stage[:, :, None] for stage in self.vision(rearrange(images, "i 1 c h w -> i c h w"))[-LEVELS:]]
        size = stages[0].shape[-2:]
        # A 1x1 convolution and an interpolation, whose weights sum to 1, give the same numbers in either order.
        maps = [
            _enlarged(project(rearrange(stage, "i c t y x -> (i t) c y x")), size)
            for project, stage in zip(self.projections, stages, strict=True)
        ]
        steps = [rearrange(each, "(i t) c y x -> i t c y x", i=images.shape[0]) for each in maps]
        return EncodedImages(
            maps=[unit(each.mean(1), dim=1) for each in steps],
            frames=[unit(each, dim=2) for each in steps] if self.config.is_of_clips else [],
        )

    def decode_expressions(
        self,
        encoded: EncodedImages,
        batch: Batch,
        *,
        features: Iterable[str] = (),
        explain: bool = False,
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        embeddings, words = self.text(batch.token_ids, batch.token_mask)
        frames: list[Tensor | None] = [batch.expand(each) for each in encoded.frames] or [None] * LEVELS
        levels = zip(self.levels, encoded.maps, frames, strict=True)
        found = [level(batch.expand(each), words, around) for level, each, around in levels]
        maps = [fused for fused, _ in found]
        responses = [score(each)[:, 0] for score, each in zip(self.level_scores, maps, strict=True)]
        for exchange in self.exchanges:
            own = enumerate(cast(nn.ModuleList, exchange))
            maps = [level(maps[place], maps[:place] + maps[place + 1 :], words.sentence) for place, level in own]
        answer = self.score(self.merge(maps))
        available: dict[str, Callable[[], Any]] = {
            "query": lambda: words.features,
            "embeddings": embeddings.detach,
            "responses": lambda: [answer[:, 0], *responses],
        }
        size = batch.images.shape[-2:]
        return Output(
            logits=F.interpolate(answer, size=size, mode="bilinear", align_corners=False)[:, 0],
            features=chosen_features(features, available, "CMPC"),
            evidence=self._evidence(words, [edges for _, edges in found], encoded.maps[0]) if explain else {},
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Binary cross-entropy at the size of the masks: of the answer, and of each level before the exchange."""
        if (masks := batch.masks) is None:
            raise InputError("CMPC's loss needs masks, but this batch has none; use labelled samples.")
        if "responses" not in output.features:
            raise InputError(
                f"CMPC's loss reads the features responses, but the output has {', '.join(output.features) or 'none'}; "
                "run the system with features=system.loss_features."
            )
        levels = [
            losses.bce(
                F.interpolate(level[:, None], masks.shape[-2:], mode="bilinear", align_corners=False)[:, 0], masks
            )
            for level in output.features["responses"][1:]
        ]
        return {
            "mask": self.config.answer_weight * losses.bce(output.logits, masks),
            "levels": self.config.level_weight * torch.stack(levels).sum(),
        }

    def _evidence(self, words: Words, edges: list[Tensor], like: Tensor) -> dict[str, Tensor]:
        """The cells that each word relates, by the number of the encoder's stage, and the fraction of relation."""
        maps = {
            f"relation_{stage}": rearrange(each.detach(), "b (y x) l -> b l y x", y=like.shape[2])
            for stage, each in zip(range(5 - LEVELS, 5), edges, strict=True)
        }
        return maps | {"relation_words": (words.types[..., RELATION] * words.mask).detach()}


class TypedWords(nn.Module):
    """Word ids to the vectors W of the words, and to `Words`, whose features are an LSTM's."""

    def __init__(self, config: WordConfig, width: int, inner: int, kinds: int = IMAGE_KINDS) -> None:
        super().__init__()
        self.words = WordTable(config.vocabulary, config.embedding, fixed=config.glove)
        self.lstm = LSTM(config.embedding, width)
        self.kinds = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, kinds))

    def forward(self, token_ids: Tensor, token_mask: Bool[Tensor, "b l"]) -> tuple[Float[Tensor, "b l e"], Words]:
        embeddings = self.words(token_ids)
        features = unit(self.lstm(embeddings, token_mask), dim=-1)
        types = self.kinds(features).softmax(dim=-1)
        thing = types[..., ENTITY] + types[..., ATTRIBUTE]
        needed = 1 - types[..., -1]  # the last kind is the unnecessary one
        # The features of padding are zero, so that it adds nothing.
        entity, sentence = (unit(einsum(each, features, "b l, b l d -> b d"), dim=-1) for each in (thing, needed))
        action = None
        if types.shape[-1] == CLIP_KINDS:
            action = unit(einsum(types[..., ACTION], features, "b l, b l d -> b d"), dim=-1)
        return embeddings, Words(features, types, token_mask, entity, sentence, action)


class Comprehension(nn.Module):
    """Entity perception and relation reasoning at one level; of clips also temporal reasoning."""

    def __init__(self, width: int, outputs: int, heads: int, *, is_of_clips: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.cell_heads = nn.Linear(width + NUM_COORDINATES, heads * width)
        self.word_heads = nn.Linear(width, heads * width)
        self.cell_key = nn.Linear(width, width)
        self.word_key = nn.Linear(width, width)
        self.message_norm = WholeNorm(width)
        self.graph = nn.Linear(width, width, bias=False)  # a norm follows, which has a shift of its own
        self.graph_norm = WholeNorm(width)
        self.time = TemporalReasoning(width) if is_of_clips else None
        self.fuse = nn.Linear((4 if is_of_clips else 3) * width + NUM_COORDINATES, outputs)

    def forward(
        self,
        visual: Float[Tensor, "b c y x"],
        words: Words,
        frames: Float[Tensor, "b t c y x"] | None = None,
    ) -> tuple[Float[Tensor, "b e y x"], Float[Tensor, "b n l"]]:
        """The level's map, and the fraction of each cell's message that each word carries."""
        cells = rearrange(visual, "b c y x -> b (y x) c")
        places = coordinates(visual)[None].expand(cells.shape[0], -1, -1)
        chosen = self._entities(torch.cat([cells, places], dim=-1), words.entity)
        related, edges = self._related(chosen, words)
        if self.time is None:
            parts = [chosen, related, _tiled(words.entity, cells)]
        else:
            assert frames is not None
            assert words.action is not None
            steps = [torch.cat([rearrange(each, "b c y x -> b (y x) c"), places], dim=-1) for each in frames.unbind(1)]
            seen = torch.stack([self._entities(each, words.entity) for each in steps], dim=1)
            parts = [cells, related, self.time(seen, words.action, chosen), _tiled(words.sentence, cells)]
        fused = F.relu(self.fuse(torch.cat([*parts, places], dim=-1)))
        return rearrange(fused, "b (y x) e -> b e y x", y=visual.shape[2]), edges

    def _entities(self, cells: Float[Tensor, "b n d"], entity: Float[Tensor, "b e"]) -> Float[Tensor, "b n e"]:
        """Bilinear fusion: the sum over heads of products of the cell's and the entity's projections."""
        products = torch.tanh(self.cell_heads(cells)) * torch.tanh(self.word_heads(entity))[:, None]
        summed = rearrange(products, "b n (heads d) -> b n heads d", heads=self.heads).sum(2)
        return unit(torch.tanh(summed), dim=-1)

    def _related(self, chosen: Float[Tensor, "b n d"], words: Words) -> tuple[Tensor, Tensor]:
        """One graph convolution whose adjacency is the product of two softmaxes, never built."""
        scores = self.cell_key(chosen) @ self.word_key(words.features).mT * chosen.shape[-1] ** -0.5
        scores = scores * words.types[..., RELATION][:, None]
        lowest = torch.finfo(scores.dtype).min
        to_words = scores.masked_fill(~words.mask[:, None], lowest).softmax(dim=2)
        to_cells = scores.softmax(dim=1)
        message = to_words @ (to_cells.mT @ chosen)
        hidden = F.relu(chosen + self.message_norm(message))
        return unit(F.relu(self.graph_norm(self.graph(hidden))), dim=-1), to_words


class Exchange(nn.Module):
    """Text-guided feature exchange: what a level takes from each of the others, by gates of its context and the words.

    The context is the mean of the level's cells, weighted by their likeness to the sentence.
    """

    def __init__(self, width: int, word_width: int, others: int) -> None:
        super().__init__()
        self.cell_key = nn.Linear(width, width, bias=False)  # a bias would shift all scores of a softmax alike
        self.word_key = nn.Linear(word_width, width)
        self.context = nn.Linear(width + word_width, width)
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(others))
        self.values = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(others))

    def forward(
        self, own: Float[Tensor, "b e y x"], others: list[Tensor], sentence: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b e y x"]:
        cells = rearrange(own, "b e y x -> b (y x) e")
        scores = einsum(self.cell_key(cells), self.word_key(sentence), "b n e, b e -> b n") * own.shape[1] ** -0.5
        pooled = einsum(scores.softmax(dim=-1), cells, "b n, b n e -> b e")
        context = unit(self.context(torch.cat([pooled, sentence], dim=-1)), dim=-1)
        total = own
        for gate, value, other in zip(self.gates, self.values, others, strict=True):
            total = total + torch.sigmoid(gate(context))[..., None, None] * F.relu(value(other))
        return unit(total, dim=1)


class LevelLSTM(nn.Module):
    """A convolutional LSTM with a 1x1 kernel over the levels, fine to coarse, with layer norms and peepholes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * width, 4 * width, 1, bias=False)
        self.peepholes = nn.Parameter(torch.empty(3, width))  # of the input, forget and output gates
        nn.init.uniform_(self.peepholes, -(width**-0.5), width**-0.5)
        self.norms = nn.ModuleList(nn.GroupNorm(1, width, eps=NORM_EPSILON) for _ in range(5))  # of j, i, f, o, cell

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "b e y x"]:
        hidden = cell = torch.zeros_like(maps[0])
        norm_new, norm_enter, norm_forget, norm_leave, norm_cell = self.norms
        peep_enter, peep_forget, peep_leave = self.peepholes[:, None, :, None, None]
        for level in maps:
            new, enter, forget, leave = self.conv(torch.cat([level, hidden], dim=1)).chunk(4, dim=1)
            enter, forget = enter + peep_enter * cell, forget + peep_forget * cell
            kept = cell * torch.sigmoid(norm_forget(forget) + 1)
            cell = kept + torch.sigmoid(norm_enter(enter)) * torch.tanh(norm_new(new))
            leave = leave + peep_leave * cell
            cell = norm_cell(cell)
            hidden = torch.sigmoid(norm_leave(leave)) * torch.tanh(cell)
        return hidden


def _tiled(vector: Float[Tensor, "b d"], cells: Float[Tensor, "b n e"]) -> Float[Tensor, "b n d"]:
    return vector[:, None].expand(-1, cells.shape[1], -1)


def _enlarged(maps: Float[Tensor, "i c y x"], size: tuple[int, int]) -> Float[Tensor, "i c y2 x2"]:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
