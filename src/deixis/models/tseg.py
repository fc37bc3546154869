"""TSEG (Strudel, Laptev & Schmid, arXiv 2205.04725) from its abstract: named `tseg-like` in every table.

- a vision transformer's patches and BERT's [CLS] meet in one space; a score is their shifted and scaled cosine
- each patch decides for each expression by itself between it and the background, so that expressions do not compete
- an image's score of an expression is the mean score of its patches, weighted by that decision, plus a term for the
  size; it is trained to say which expressions belong to which image, without masks
- no code and no full text was at hand: pooling and size term are those of single-stage weak segmentation (Araslanov &
  Roth, CVPR 2020); widths, scale and the balance of positives and negatives are our choices
- `mixing_layers=2` puts Segmenter's layers over [patches; expressions] in between; expressions see patches and
  themselves, patches see patches, so that an answer does not depend on what else is asked (our choice)
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..batch import Batch, Output
from ..errors import InputError
from ..system import chosen_features
from ..text.bert import Bert, BertConfig
from ..text.reads_text import ReadsText

TEMPERATURE = 0.07  # at first
SURE = 1e-6  # how near a map's probabilities come to 0 and 1
Pooling = Literal["weighted", "mean", "max"]


@dataclass(frozen=True, kw_only=True)
class TSEGConfig(ReadsText):
    """The encoders, by default ViT-S/16 at 384 and BERT, and how patches become an image's score."""

    text: BertConfig = field(default_factory=BertConfig)
    image_size: int = 384  # for which the checkpoint has positions; others are interpolated
    patch_size: int = 16
    vision_layers: int = 12
    vision_width: int = 384
    vision_heads: int = 6
    vision_feed_forward: int = 1536
    width: int = 384
    mixing_layers: int = 0  # a transformer over patches and expressions
    mixing_heads: int = 6
    pooling: Pooling = "weighted"
    epsilon: float = 1.0
    size_power: float = 3.0
    size_floor: float = 0.01

    def __post_init__(self) -> None:
        if self.width < 1 or self.vision_layers < 1 or self.vision_width % self.vision_heads:
            raise InputError(
                f"TSEG has {self.vision_layers} layers, {self.vision_heads} heads in a width of {self.vision_width}, "
                f"and a common width of {self.width}; expected positive numbers, and heads that divide the width."
            )
        if self.mixing_layers < 0 or self.mixing_heads < 1 or (self.mixing_layers and self.width % self.mixing_heads):
            raise InputError(
                f"TSEG mixes in {self.mixing_layers} layers of {self.mixing_heads} heads in a width of {self.width}; "
                "expected 0 layers or more, and heads that divide the width."
            )
        if min(self.epsilon, self.size_power, self.size_floor) <= 0:
            raise InputError(
                f"TSEG's epsilon, size_power and size_floor are {self.epsilon}, {self.size_power} and "
                f"{self.size_floor}; expected positive numbers."
            )

    def build(self) -> "TSEG":
        return TSEG(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.text.layers + self.vision_layers + self.mixing_layers


class TSEG(nn.Module):
    """Images and expressions to the logits of each patch's decision for the expression, resized as probabilities."""

    loss_features: tuple[str, ...] = ()
    pair_features = ("image", "sentence")

    def __init__(self, config: TSEGConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TSEGConfig()
        self.text = Bert(config.text)
        self.vision = _vision(config)
        self.project_image = nn.Linear(config.vision_width, config.width)
        self.project_text = nn.Linear(config.text.width, config.width)
        self.mixing = nn.ModuleList(_mixing_layer(config) for _ in range(config.mixing_layers))
        self.log_scale = nn.Parameter(-torch.log(torch.tensor(TEMPERATURE)))
        self.bias = nn.Parameter(torch.tensor(0.0))

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.config.text.width, "embeddings": self.config.text.width}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        return self.decode_expressions(
            self.encode_images(batch.target_frames()[:, None]), batch, features=features, explain=explain
        )

    def encode_images(self, images: Float[Tensor, "i 1 3 h w"]) -> Float[Tensor, "i y x d"]:
        """The patches, projected to the common width."""
        seen = self.vision(rearrange(images, "i 1 c h w -> i c h w"), interpolate_pos_encoding=True)
        patches = self.project_image(seen.last_hidden_state[:, 1:])
        return rearrange(patches, "i (y x) d -> i y x d", y=images.shape[-2] // self.config.patch_size)

    def decode_expressions(
        self,
        encoded: Float[Tensor, "i y x d"],
        batch: Batch,
        *,
        features: Iterable[str] = (),
        explain: bool = False,
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        words = self.text(batch.token_ids, batch.token_mask)
        sentence = self.project_text(words[:, 0])
        patches = batch.expand(rearrange(encoded, "i y x d -> i (y x) d"))
        cosine = rearrange(self.cosines(patches, sentence[:, None]), "b 1 (y x) -> b y x", y=encoded.shape[1])
        chosen = self._scores(cosine).sigmoid()
        size = batch.images.shape[-2:]
        probability = F.interpolate(chosen[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
        # In half precision a probability near 1 would round to 1, whose logit is not finite.
        single = probability if probability.dtype == torch.float64 else probability.float()
        available = {
            "query": lambda: words,
            "embeddings": lambda: self.text.bert.embeddings.word_embeddings(batch.token_ids).detach(),
            "image": lambda: patches,
            "sentence": lambda: sentence,
        }
        return Output(
            logits=single.logit(eps=SURE).to(cosine.dtype),
            features=chosen_features(features, available, "TSEG"),
            evidence={"similarity": cosine.detach(), "chosen": chosen.detach()} if explain else {},
        )

    def cosines(self, patches: Float[Tensor, "i n d"], sentences: Float[Tensor, "i c d"]) -> Float[Tensor, "i c n"]:
        """Of each expression with each patch of its image, after the mixing layers if there are any."""
        if self.mixing:
            together = torch.cat([patches, sentences], dim=1)
            hidden = _hidden(patches.shape[1], sentences.shape[1], patches.device)
            for layer in self.mixing:
                together = layer(together, src_mask=hidden)
            patches, sentences = together.split([patches.shape[1], sentences.shape[1]], dim=1)
        return einsum(F.normalize(patches, dim=-1), F.normalize(sentences, dim=-1), "i n d, i c d -> i c n")

    def pair_loss(
        self, images: Float[Tensor, "b n d"], sentences: Float[Tensor, "b d"], same: Bool[Tensor, "b b"]
    ) -> dict[str, Tensor]:
        """Binary cross-entropy of every image's score of every sentence, half for positives and half for negatives.

        A sentence that occurs twice in the batch belongs to both images.
        """
        every = repeat(sentences, "b d -> i b d", i=len(images))
        scores = self.image_scores(self.cosines(images, every))
        positive = F.softplus(-scores)[same].mean()
        negative = F.softplus(scores)[~same]
        return {"classes": (positive + (negative.mean() if len(negative) else negative.sum())) / 2}

    def image_scores(self, cosine: Float[Tensor, "*pairs n"]) -> Float[Tensor, "*pairs"]:
        """How well an expression describes an image, from the cosines of its patches."""
        scores = self._scores(cosine)
        if self.config.pooling == "max":
            return scores.amax(-1)
        if self.config.pooling == "mean":
            return scores.mean(-1)
        weights = scores.sigmoid()
        pooled = (weights * scores).sum(-1) / (self.config.epsilon + weights.sum(-1))
        area = reduce(weights, "... n -> ...", "mean")
        return pooled + (1 - area) ** self.config.size_power * (self.config.size_floor + area).log()

    def _scores(self, cosine: Float[Tensor, "*cells"]) -> Float[Tensor, "*cells"]:
        return (cosine - self.bias) * self.log_scale.exp()


def _mixing_layer(config: TSEGConfig) -> nn.Module:
    return nn.TransformerEncoderLayer(
        config.width,
        config.mixing_heads,
        dim_feedforward=4 * config.width,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )


def _hidden(patches: int, expressions: int, device: torch.device) -> Bool[Tensor, "n n"]:
    """Which tokens (columns) another token (row) does not attend to: expressions are hidden from all but themselves."""
    is_expression = torch.arange(patches + expressions, device=device) >= patches
    return is_expression[None] & ~torch.eye(len(is_expression), dtype=torch.bool, device=device)


def _vision(config: TSEGConfig) -> Any:
    """The vision transformer of transformers, whose weights have the published names."""
    from transformers import ViTConfig, ViTModel

    sizes = ViTConfig(
        image_size=config.image_size,
        patch_size=config.patch_size,
        num_hidden_layers=config.vision_layers,
        hidden_size=config.vision_width,
        num_attention_heads=config.vision_heads,
        intermediate_size=config.vision_feed_forward,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return ViTModel(sizes, add_pooling_layer=False)
