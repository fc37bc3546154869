"""GroupViT (Xu et al., CVPR 2022) as SaG compares it: segments go to the expression or to `a photo of a nothing`.

- a vision transformer whose learned group tokens collect the patches in two stages, into 64 and then 8 segments
- each pixel belongs to the segment with the largest assignment, and each segment to the query it is more similar to;
  the mask is what the expression wins against the dummy, without a threshold, and may be empty
- assignments are compared at the size that the network reads and the result is resized to the photo; the original
  compares them at the photo's size, which changes pixels at borders only
- training clamps the learned scale to 100, as the original does and transformers does not
- fine-tuned on (image, sentence) pairs by the symmetric contrastive loss; the multi-label loss of its pre-training is
  left out, because SaG does not say whether it kept that
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

DUMMY = "a photo of a nothing"
DUMMY_IDS = (49406, 320, 1125, 539, 320, 2586, 49407)  # in CLIP's vocabulary
SHARPNESS = 100.0  # of the logits: the largest scale that CLIP's training allows; the mask does not depend on it


@dataclass(frozen=True, kw_only=True)
class GroupViTConfig(TextSizes):
    """The sizes of a GroupViT, by default the published ones, and the token ids of the dummy query.

    `dummy` are the ids of `a photo of a nothing` with its start and end token, in the checkpoint's vocabulary; by
    default CLIP's.
    """

    image_size: int = 224  # for which the checkpoint has positions; others are interpolated
    patch_size: int = 16
    depths: tuple[int, ...] = (6, 3, 3)
    group_tokens: tuple[int, ...] = (64, 8, 0)
    output_groups: tuple[int, ...] = (64, 8, 0)
    vision_width: int = 384
    vision_heads: int = 6
    vision_feed_forward: int = 1536
    text_layers: int = 12
    text_width: int = 256
    text_heads: int = 4
    text_feed_forward: int = 1024
    vocabulary: int = 49408
    positions: int = 77
    width: int = 256
    projection_width: int = 4096
    template: str = PLAIN
    dummy: tuple[int, ...] = DUMMY_IDS

    def __post_init__(self) -> None:
        check_template(self.template)
        if not self.dummy or not all(0 <= number < self.vocabulary for number in self.dummy):
            raise InputError(
                f"GroupViT's dummy query has the token ids {list(self.dummy)}; expected those of {DUMMY!r}, each below "
                f"the {self.vocabulary} of the vocabulary."
            )
        if len({len(self.depths), len(self.group_tokens), len(self.output_groups)}) > 1:
            raise InputError(
                f"GroupViT has {len(self.depths)} depths, {len(self.group_tokens)} group_tokens and "
                f"{len(self.output_groups)} output_groups; expected as many of each."
            )

    def build(self) -> "GroupViT":
        return GroupViT(self)

    @classmethod
    def published(cls, settings: Mapping[str, Any], options: Mapping[str, Any]) -> "GroupViTConfig":
        """The sizes in the `config.json` of a published checkpoint, whose omissions transformers fills in."""
        from transformers import GroupViTConfig as Sizes

        known = Sizes(**settings)
        vision = cast(Any, known.vision_config)
        sizes: dict[str, Any] = {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "depths": tuple(vision.depths),
            "group_tokens": tuple(vision.num_group_tokens),
            "output_groups": tuple(vision.num_output_groups),
            "projection_width": known.projection_intermediate_dim,
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
        return self.text_layers + sum(self.depths)


@dataclass(frozen=True, kw_only=True)
class Segments:
    """What one image becomes before any expression: soft assignments, and the segments in the common space."""

    assignment: Float[Tensor, "i k y x"]  # sums to 1 over the segments
    embeddings: Float[Tensor, "i k d"]  # of unit length
    image: Float[Tensor, "i d"]  # the whole image's, of unit length


class GroupViT(nn.Module):
    """Images and expressions to logits: the margin by which the expression wins a pixel's segment."""

    loss_features: tuple[str, ...] = ()
    pair_features = ("image", "sentence")

    def __init__(self, config: GroupViTConfig) -> None:
        super().__init__()
        self.config = config
        self.groupvit = _groupvit(config)

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.config.text_width, "embeddings": self.config.text_width}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        return self.decode_expressions(
            self.encode_images(batch.target_frames()[:, None]), batch, features=features, explain=explain
        )

    def encode_images(self, images: Float[Tensor, "i 1 3 h w"]) -> Segments:
        vision, height = self.groupvit.vision_model, images.shape[-2]
        tokens = vision.embeddings(rearrange(images, "i 1 c h w -> i c h w"), interpolate_pos_encoding=True)
        grouped = vision.encoder(tokens, output_attentions=True, output_hidden_states=False, return_dict=True)
        first, *later = grouped.attentions
        for stage in later:
            first = stage @ first
        segments = vision.layernorm(grouped.last_hidden_state)
        embeddings = self.groupvit.visual_projection(rearrange(segments, "i k d -> (i k) d"))
        return Segments(
            assignment=rearrange(first, "i k (y x) -> i k y x", y=height // self.config.patch_size),
            embeddings=F.normalize(rearrange(embeddings, "(i k) d -> i k d", i=images.shape[0]), dim=-1),
            image=F.normalize(self.groupvit.visual_projection(segments.mean(1)), dim=-1),
        )

    def decode_expressions(
        self, encoded: Segments, batch: Batch, *, features: Iterable[str] = (), explain: bool = False
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        words = self.groupvit.text_model(input_ids=batch.token_ids).last_hidden_state
        sentence, dummy = self._sentences(words, batch.token_mask)
        similarity = einsum(batch.expand(encoded.embeddings), sentence, "b k d, b d -> b k")
        margin = similarity - batch.expand(encoded.embeddings) @ dummy
        size = batch.images.shape[-2:]
        assignment = F.interpolate(encoded.assignment, size=size, mode="bilinear", align_corners=False)
        segment = rearrange(batch.expand(assignment.argmax(1)), "b h w -> b (h w)")
        logits = rearrange(margin.gather(1, segment), "b (h w) -> b h w", h=size[0])
        available = {
            "query": lambda: words,
            "embeddings": lambda: self.groupvit.text_model.embeddings.token_embedding(batch.token_ids).detach(),
            "image": lambda: batch.expand(encoded.image),
            "sentence": lambda: sentence,
        }
        evidence = {"segments": batch.expand(encoded.assignment), "segment_similarity": similarity, "margin": margin}
        return Output(
            logits=SHARPNESS * logits,
            features=chosen_features(features, available, "GroupViT"),
            evidence={name: values.detach() for name, values in evidence.items()} if explain else {},
        )

    def pair_loss(
        self, images: Float[Tensor, "b d"], sentences: Float[Tensor, "b d"], same: Bool[Tensor, "b b"]
    ) -> dict[str, Tensor]:
        """The symmetric contrastive loss of a whole batch; an equal sentence of another image is a negative."""
        return {"contrast": losses.image_text_contrast(images, sentences, self.groupvit.logit_scale)}

    def _sentences(
        self, words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b e"], Float[Tensor, " e"]]:
        """The expressions and the dummy query in the common space, of unit length.

        They are projected together: a batch norm that trains needs two rows or more.
        """
        ends = clip_text.ends(words, token_mask)
        dummy = torch.tensor([self.config.dummy], device=words.device)
        nothing = self.groupvit.text_model(input_ids=dummy).last_hidden_state[:, -1]
        projected = F.normalize(self.groupvit.text_projection(torch.cat((ends, nothing))), dim=-1)
        return projected[:-1], projected[-1]


def _groupvit(config: GroupViTConfig) -> Any:
    """The network of transformers, whose weights have the published names."""
    from transformers import GroupViTConfig as Sizes
    from transformers import GroupViTModel

    vision = {
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "depths": list(config.depths),
        "num_hidden_layers": sum(config.depths),
        "num_group_tokens": list(config.group_tokens),
        "num_output_groups": list(config.output_groups),
        "hidden_size": config.vision_width,
        "num_attention_heads": config.vision_heads,
        "intermediate_size": config.vision_feed_forward,
    }
    return GroupViTModel(
        Sizes(
            vision_config=vision,
            text_config=clip_text.settings(config),
            projection_dim=config.width,
            projection_intermediate_dim=config.projection_width,
        )
    )
