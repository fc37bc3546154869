"""SaG: shatter and gather (Kim et al., ICCV 2023); it segments without having seen a mask.

- ViT encodes the image, BERT the expression; neither reads the other, so an image is encoded once for many expressions
- entity discovery: slots drawn from a few Gaussians compete for the patches, in iterations with shared weights
- modality fusion: the expression attends to the slots; a patch's score is the attention to the slots that hold it
- the losses, contrastive and reconstruction, need no mask: `objectives/text_supervision.py`
- differs from the published code: the slots start from the means unless noise is asked for, where that code draws noise
  anew at each prediction; position tables are those of the image's own size
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..batch import Batch, Output
from ..errors import InputError, did_you_mean
from ..layers.entities import CrossLayer, SelfLayer, Slots, StartSlots, sine_positions
from ..system import chosen_features
from ..text.bert import Bert, BertConfig
from ..text.reads_text import ReadsText
from ..vision.vit import ViT, ViTConfig

Positions = Literal["learned", "sinusoidal"]
Noise = Literal["mean", "sample"]
Pooling = Literal["first", "mean"]
CHOICES = {"slots": Slots, "decoder_positions": Positions, "noise": Noise, "pooling": Pooling}
TABLE = 50  # rows and columns of the decoder's learned positions, as published


@dataclass(frozen=True, kw_only=True)
class SaGConfig(ReadsText):
    """The defaults are the published SaG. `noise` and `noise_seed` are those of predictions; training draws noise.

    `one_group`: all slots interact, rather than those of the same Gaussian. `pooling`: the sentence is BERT's first
    token, [CLS], or the mean of all tokens; the first token of a BERT that is not pre-trained says nothing yet.
    `sharpness` multiplies the scores of the attention to patches and to slots, which random weights leave almost equal.
    """

    vision: ViTConfig = field(default_factory=ViTConfig)
    text: BertConfig = field(default_factory=BertConfig)
    width: int = 512
    gaussians: int = 12
    samples: int = 3
    iterations: int = 6
    heads: int = 4
    head_width: int = 256
    interaction_head_width: int = 128
    fusion_head_width: int = 256
    dropout: float = 0.1
    slots: Slots = "entity"
    one_group: bool = False
    decoder_positions: Positions = "learned"
    pooling: Pooling = "first"
    sharpness: float = 1.0
    noise: Noise = "mean"
    noise_seed: int = 0
    prediction_settings: ClassVar[tuple[str, ...]] = ("iterations", "noise", "noise_seed")  # they change no weight

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in (known := get_args(choices)):
                raise InputError(f"SaG has no {name} {value!r}. {did_you_mean(str(value), known)}")
        if not self.sharpness > 0:
            raise InputError(f"SaG's sharpness is {self.sharpness}; expected a positive number.")
        for name in ("gaussians", "samples", "iterations", "heads", "head_width"):
            if (size := getattr(self, name)) < 1:
                raise InputError(f"SaG's {name!r} is {size}; expected a positive number.")
        if self.width < 4 or self.width % 4:
            raise InputError(f"SaG's width is {self.width}; expected a multiple of 4.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"SaG's 'dropout' is {self.dropout}; expected a probability in [0, 1).")

    def build(self) -> "SaG":
        return SaG(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.text.layers + self.vision.layers


@dataclass(frozen=True)
class Entities:
    """What an image was shattered into: the slots, and how much of each patch each of them holds."""

    patches: Float[Tensor, "i y x c"]
    slots: Float[Tensor, "i k d"]
    maps: Float[Tensor, "i k y x"]


class SaG(nn.Module):
    """Images and expressions to mask logits: those of the attention that reaches a patch through the slots.

    In half precision, too, attention weights and logits are in float32: masks depend on their differences alone.
    """

    loss_features: tuple[str, ...] = ()

    def __init__(self, config: SaGConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SaGConfig()
        self.text = Bert(config.text)
        self.sentence = nn.Linear(config.text.width, config.width)
        self.vision = ViT(config.vision)
        self.patches = nn.Linear(config.vision.width, config.width)
        self.discovery = EntityDiscovery(config)
        self.fusion = CrossLayer(
            config.width,
            config.heads,
            config.fusion_head_width,
            config.dropout,
            0.0,
            over_queries=False,
            sharpness=config.sharpness,
        )
        self.decoder = ReconstructionDecoder(config.width, config.vision.width, config.decoder_positions)

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.text.width, "embeddings": self.text.width}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        words = self.text(batch.token_ids, batch.token_mask)
        return self._gather(words, self.encode_images(batch.target_frames()[:, None]), batch, features, explain)

    def encode_images(self, images: Float[Tensor, "i 1 3 h w"]) -> Entities:
        patches = self.vision(rearrange(images, "i 1 c h w -> i c h w"))
        slots, maps = self.discovery(self.patches(patches))
        return Entities(patches, slots, maps)

    def decode_expressions(
        self, encoded: Entities, batch: Batch, *, features: Iterable[str] = (), explain: bool = False
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        return self._gather(self.text(batch.token_ids, batch.token_mask), encoded, batch, features, explain)

    def match(self, sentences: Float[Tensor, "b d"], slots: Float[Tensor, "i k d"]) -> Float[Tensor, "b i d"]:
        """Each sentence fused with the slots of each image, of unit length."""
        queries = sentences.expand(len(slots), -1, -1)
        return F.normalize(rearrange(self.fusion(queries, slots)[0], "i b d -> b i d"), dim=-1)

    def reconstruct(
        self, slots: Float[Tensor, "i k d"], rows: int, columns: int, cells: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "i n c"]:
        """The features of the patches at the positions `cells` of the grid, all of them by default."""
        return self.decoder(slots, rows, columns, cells)

    def _gather(
        self,
        words: Float[Tensor, "b l d"],
        entities: Entities,
        batch: Batch,
        features: Iterable[str],
        explain: bool,
    ) -> Output:
        sentence = self.sentence(self._pooled(words, batch.token_mask))
        _, weights = self.fusion(sentence[:, None], batch.expand(entities.slots))
        relevance, maps = weights[:, :, 0].mean(1), batch.expand(entities.maps)
        scores = (relevance[..., None, None] * maps).sum(1)  # not a matrix product, which autocast would narrow
        return Output(
            logits=self._enlarged(scores, batch).logit(1e-6),
            features=chosen_features(features, self._features(words, sentence, entities, batch), "SaG"),
            evidence=self._evidence(relevance.detach(), maps.detach()) if explain else {},
        )

    def _evidence(self, relevance: Float[Tensor, "b k"], maps: Float[Tensor, "b k y x"]) -> dict[str, Tensor]:
        """`gaussian` is the number of the distribution that each entity was drawn from; query slots have none."""
        start = self.discovery.start
        evidence = {"relevance": relevance, "entities": maps}
        if start.kind != "query":
            of_each = torch.arange(start.count, device=maps.device) // (
                start.samples if start.kind == "entity" else start.count
            )
            evidence["gaussian"] = of_each.expand(len(maps), -1)
        return evidence

    def _pooled(self, words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b d"]:
        if self.config.pooling == "first":
            return words[:, 0]
        weights = token_mask.to(words.dtype)
        return einsum(words, weights / weights.sum(1, keepdim=True), "b l d, b l -> b d")

    def _enlarged(self, scores: Float[Tensor, "b y x"], batch: Batch) -> Float[Tensor, "b h w"]:
        """At the image's size, without the cells that only padding filled."""
        (height, width), patch = batch.images.shape[-2:], self.config.vision.patch
        size = (patch * scores.shape[1], patch * scores.shape[2])
        return F.interpolate(scores[:, None], size=size, mode="bilinear", align_corners=False)[:, 0, :height, :width]

    def _features(
        self, words: Tensor, sentence: Tensor, entities: Entities, batch: Batch
    ) -> dict[str, Callable[[], Tensor]]:
        return {
            "query": lambda: words,
            "embeddings": lambda: self.text.bert.embeddings.word_embeddings(batch.token_ids).detach(),
            "sentence": lambda: sentence,
            "slots": lambda: entities.slots,
            "patches": lambda: entities.patches,
            "reconstruction": lambda: rearrange(
                self.reconstruct(entities.slots, *entities.maps.shape[-2:]),
                "i (y x) c -> i y x c",
                y=entities.maps.shape[-2],
            ),
        }


class EntityDiscovery(nn.Module):
    """Patches to slots and the last iteration's attention, the mean over its heads."""

    def __init__(self, config: SaGConfig) -> None:
        super().__init__()
        width = config.width
        self.iterations = config.iterations  # may be changed: the blocks are shared
        self.group = config.gaussians * config.samples if config.one_group else config.samples
        self.noise_kind, self.noise_seed = config.noise, config.noise_seed
        self.start = StartSlots(config.slots, config.gaussians, config.samples, width)
        self.aggregation = CrossLayer(
            width,
            config.heads,
            config.head_width,
            config.dropout,
            config.dropout,
            over_queries=True,
            sharpness=config.sharpness,
        )
        self.interaction = SelfLayer(width, config.heads, config.interaction_head_width, config.dropout)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, patches: Float[Tensor, "i y x d"]) -> tuple[Float[Tensor, "i k d"], Float[Tensor, "i k y x"]]:
        rows, columns, width = patches.shape[1:]
        context = rearrange(patches + sine_positions(rows, columns, width, patches), "i y x d -> i (y x) d")
        slots, read = self.start(self.noise(context)), self.aggregation.read(context)
        for _ in range(self.iterations):
            slots, weights = self.aggregation.attend(slots, read)
            grouped = rearrange(slots, "i (group s) d -> (i group) s d", s=self.group)
            groups = self.start.count // self.group
            slots = rearrange(self.interaction(grouped), "(i group) s d -> i (group s) d", group=groups)
        maps = rearrange(weights.mean(1), "i k (y x) -> i k y x", y=rows)
        return self.norm(self.output(slots)), maps

    def noise(self, context: Float[Tensor, "i n d"]) -> Float[Tensor, "i k d"]:
        """Fresh in training; in predictions nothing, or one seeded draw for every image."""
        count, _, width = context.shape
        shape = (self.start.count, width)
        if self.training:
            return torch.randn(count, *shape, device=context.device, dtype=context.dtype)
        if self.noise_kind == "mean":
            return context.new_zeros(count, *shape)
        draw = torch.randn(shape, generator=torch.Generator().manual_seed(self.noise_seed))
        return draw.to(context).expand(count, -1, -1)


class ReconstructionDecoder(nn.Module):
    """Slots to the features of the patches: each slot proposes all of them, and a softmax over slots weighs them."""

    def __init__(self, width: int, output_width: int, positions: Positions) -> None:
        super().__init__()
        is_learned = positions == "learned"
        self.rows = nn.Parameter(torch.rand(TABLE, width // 2)) if is_learned else None
        self.columns = nn.Parameter(torch.rand(TABLE, width // 2)) if is_learned else None
        widths = (width, width, width, width, output_width + 1)
        layers = [part for own, to in pairwise(widths) for part in (nn.Linear(own, to), nn.ReLU())]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(
        self, slots: Float[Tensor, "i k d"], rows: int, columns: int, cells: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "i n c"]:
        positions = rearrange(self._positions(rows, columns, slots), "y x d -> (y x) d")
        made = self.mlp(slots[:, :, None] + (positions if cells is None else positions[cells]))
        return (made[..., :-1] * made[..., -1:].softmax(1)).sum(1)

    def _positions(self, rows: int, columns: int, slots: Tensor) -> Float[Tensor, "y x d"]:
        if self.rows is None or self.columns is None:
            return sine_positions(rows, columns, slots.shape[-1], slots)
        if max(rows, columns) > TABLE:
            raise InputError(
                f"The decoder's learned positions end at {TABLE} patches, but the image has {rows} x {columns}; "
                "train at a smaller size or with sinusoidal positions."
            )
        across = self.columns[None, :columns].expand(rows, -1, -1)
        return torch.cat([across, self.rows[:rows, None].expand(-1, columns, -1)], -1)
