"""MaskCLIP (Zhou, Loy & Dai, ECCV 2022) as SaG compares it: CLIP's patches against the expression, without training.

- CLIP ViT-B/16; the last block's attention is replaced by its value and output projections, for every patch by itself
- a patch's score is the cosine of its projected feature and the expression's; the map is rescaled to 0…1 and cut at 0.5
- `as_published` has the paper's deviations from CLIP: exact GELU and norms with epsilon 1e-6 (and ImageNet's mean and
  standard deviation, which the preprocessing holds); `plain_value` projects the value without residual and MLP
- the photo is stretched to a square; the paper keeps its aspect ratio, with a shorter side of 512 pixels
- fine-tuned on (image, sentence) pairs by CLIP's symmetric loss on its ordinary embeddings; maps are read afterwards
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..system import chosen_features
from ..text import clip_text
from ..text.clip_text import TextSizes
from ..text.clip_tokenizer import PLAIN, check_template

LARGEST_COSINE = 0.999  # so that the logit below is finite in half precision, too


@dataclass(frozen=True, kw_only=True)
class MaskCLIPConfig(TextSizes):
    """The sizes of a CLIP, by default those of ViT-B/16, and how its patches are read."""

    image_size: int = 224  # for which the checkpoint has positions; others are interpolated
    patch_size: int = 16
    vision_layers: int = 12
    vision_width: int = 768
    vision_heads: int = 12
    vision_feed_forward: int = 3072
    text_layers: int = 12
    text_width: int = 512
    text_heads: int = 8
    text_feed_forward: int = 2048
    vocabulary: int = 49408
    positions: int = 77
    width: int = 512
    template: str = PLAIN
    as_published: bool = False
    plain_value: bool = False

    def __post_init__(self) -> None:
        check_template(self.template)
        if self.vision_layers < 1 or self.vision_width % self.vision_heads or self.text_width % self.text_heads:
            raise InputError(
                f"MaskCLIP has {self.vision_layers} layers, and {self.vision_heads} and {self.text_heads} heads in "
                f"widths of {self.vision_width} and {self.text_width}; expected a layer, and heads that divide widths."
            )

    def build(self) -> "MaskCLIP":
        return MaskCLIP(self)

    @classmethod
    def published(cls, settings: Mapping[str, Any], options: Mapping[str, Any]) -> "MaskCLIPConfig":
        """The sizes in the `config.json` of a published checkpoint, whose omissions transformers fills in."""
        from transformers import CLIPConfig

        known = CLIPConfig(**settings)
        vision = cast(Any, known.vision_config)
        sizes: dict[str, Any] = {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "vision_layers": vision.num_hidden_layers,
            "vision_width": vision.hidden_size,
            "vision_heads": vision.num_attention_heads,
            "vision_feed_forward": vision.intermediate_size,
            **clip_text.published_sizes(known.text_config),
            "width": known.projection_dim,
        }
        return cls(**sizes, **options)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.text_layers + self.vision_layers


class MaskCLIP(nn.Module):
    """Images and expressions to logits whose probability is (1 + cosine) / 2, which a min-max rule reads."""

    loss_features: tuple[str, ...] = ()
    pair_features = ("image", "sentence")

    def __init__(self, config: MaskCLIPConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MaskCLIPConfig()
        self.clip = _clip(config)

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.config.text_width, "embeddings": self.config.text_width}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        return self.decode_expressions(
            self.encode_images(batch.target_frames()[:, None]), batch, features=features, explain=explain
        )

    def encode_images(self, images: Float[Tensor, "i 1 3 h w"]) -> Float[Tensor, "i y x d"]:
        """Each patch's feature in CLIP's common space, of unit length."""
        patches = self._before_last(rearrange(images, "i 1 c h w -> i c h w"))[:, 1:]
        vision, last = self.clip.vision_model, self.clip.vision_model.encoder.layers[-1]
        attention = last.self_attn
        value = attention.out_proj(attention.v_proj(last.layer_norm1(patches)))
        if not self.config.plain_value:
            value = value + patches
            value = value + last.mlp(last.layer_norm2(value))
        projected = self.clip.visual_projection(vision.post_layernorm(value))
        rows = images.shape[-2] // self.config.patch_size
        return rearrange(F.normalize(projected, dim=-1), "i (y x) d -> i y x d", y=rows)

    def decode_expressions(
        self,
        encoded: Float[Tensor, "i y x d"],
        batch: Batch,
        *,
        features: Iterable[str] = (),
        explain: bool = False,
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        words = self.clip.text_model(input_ids=batch.token_ids).last_hidden_state
        sentence = self._sentence(words, batch.token_mask)
        cosine = einsum(batch.expand(encoded), sentence, "b y x d, b d -> b y x")
        size = batch.images.shape[-2:]
        upsampled = F.interpolate(cosine[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
        available = {
            "query": lambda: words,
            "embeddings": lambda: self.clip.text_model.embeddings.token_embedding(batch.token_ids).detach(),
            "image": lambda: batch.expand(self._global(batch.target_frames())),
            "sentence": lambda: sentence,
        }
        return Output(
            logits=2 * torch.atanh(upsampled.clamp(-LARGEST_COSINE, LARGEST_COSINE)),
            features=chosen_features(features, available, "MaskCLIP"),
            evidence={"similarity": cosine.detach()} if explain else {},
        )

    def pair_loss(
        self, images: Float[Tensor, "b d"], sentences: Float[Tensor, "b d"], same: Bool[Tensor, "b b"]
    ) -> dict[str, Tensor]:
        """CLIP's loss of a whole batch; an equal sentence of another image is a negative, as in CLIP."""
        return {"contrast": losses.image_text_contrast(images, sentences, self.clip.logit_scale)}

    def _before_last(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i n d"]:
        """The class token and the patches before the last block."""
        vision = self.clip.vision_model
        tokens = vision.pre_layrnorm(vision.embeddings(images, interpolate_pos_encoding=True))
        for layer in vision.encoder.layers[:-1]:
            tokens = layer(tokens, attention_mask=None)
        return tokens

    def _global(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i d"]:
        """CLIP's ordinary embedding of whole images, of unit length."""
        vision = self.clip.vision_model
        tokens = vision.encoder.layers[-1](self._before_last(images), attention_mask=None)
        return F.normalize(self.clip.visual_projection(vision.post_layernorm(tokens[:, 0])), dim=-1)

    def _sentence(self, words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b e"]:
        """The projected feature of the end token, which is the last real one, of unit length."""
        ends = clip_text.ends(words, token_mask)
        return F.normalize(self.clip.text_projection(ends), dim=-1)


def _clip(config: MaskCLIPConfig) -> Any:
    """The network of transformers, whose weights have the published names."""
    from transformers import CLIPConfig, CLIPModel

    own = {"hidden_act": "gelu", "layer_norm_eps": 1e-6} if config.as_published else {}
    vision = {
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "num_hidden_layers": config.vision_layers,
        "hidden_size": config.vision_width,
        "num_attention_heads": config.vision_heads,
        "intermediate_size": config.vision_feed_forward,
    }
    return CLIPModel(
        CLIPConfig(
            vision_config=vision | own, text_config=clip_text.settings(config) | own, projection_dim=config.width
        )
    )
