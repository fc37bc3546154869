"""SDA's base network: semantic-conditioned dual adaptation (Ye Wang et al., ACL Findings 2023, Appendix A).

- ResNet-101 encodes an image, I3D a clip; GloVe vectors and a bidirectional GRU encode the expression
- at strides 8, 16 and 32, of clips also 2 and 4, every cell gathers the words that matter to it and is gated by them
  (Eq. 8); SLIC superpixels of the target frame exchange what they hold by self-attention (Eq. 9)
- a small convolutional network gives a response map at each resolution; each has a binary cross-entropy (Eq. 10); the
  finest one is the answer, and the mask is what exceeds half of its maximum (`MaskRule("half-maximum")`)
- published input: 320x320, padded, of clips 8 frames around the target (`Preprocess(image_size=320, fit="pad")`)
- the paper has no code; ours: 256 channels in the decoder, 1/sqrt(d) in both softmaxes, and what a coarser level knows
  is added to the next finer one ("hierarchical", "stacking"), without which the answer would never read stage 4
- of I3D the paper reads "the last five layers": here the last map of each resolution, its mean over time
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..layers.response_head import ResponseHead
from ..system import chosen_features
from ..text.gru import GRUConfig, WordEncoder
from ..text.reads_text import ReadsText
from ..vision.i3d import I3D, I3DConfig, OverTime, over_time
from ..vision.resnet import ResNet, ResNetConfig
from ..vision.slic import most_regions
from ..vision.superpixels import labels_at, pool_regions, superpixels, to_cells, without_gaps

LEVELS = 3  # the last stages of a ResNet; of I3D all levels of its config
Flow = Literal["top-down", "independent"]


@dataclass(frozen=True, kw_only=True)
class SDAConfig(ReadsText):
    """The defaults are the paper's network; `text.glove` is for a run that has a GloVe file.

    `flow="independent"` is the literal reading of Appendix A: levels without a connection, whose upsampled response
    maps are joined by a 3x3 convolution. `is_scaled=False` prints Eqs. 8 and 9 as they are, without 1/sqrt(d). `time`
    is how a clip's map becomes one of its target frame.
    """

    vision: ResNetConfig | I3DConfig = field(default_factory=ResNetConfig)
    text: GRUConfig = field(default_factory=GRUConfig)
    width: int = 1024  # in which pixels meet words, and regions meet regions
    decoder_width: int = 256
    regions: int = 200
    compactness: float = 10.0
    flow: Flow = "top-down"
    is_scaled: bool = True
    time: OverTime = "mean"

    def __post_init__(self) -> None:
        if min(self.width, self.decoder_width, self.regions) < 1 or not self.compactness > 0:
            raise InputError(
                f"SDA's width is {self.width}, its decoder_width {self.decoder_width}, its regions {self.regions} and "
                f"its compactness {self.compactness}; expected positive numbers."
            )

    def build(self) -> "SDA":
        return SDA(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.vision.depth


@dataclass(frozen=True)
class EncodedImages:
    """What is computed once per image or clip: the encoder's levels, fine to coarse, and the target's superpixels."""

    maps: list[Tensor]  # [i c y x]
    labels: Int[Tensor, "i h w"]


@dataclass(frozen=True)
class Fused:
    """What SDA has computed before its decoder; lists run from fine to coarse."""

    batch: Batch
    visual: Float[Tensor, "b c y x"]  # of the encoder's last stage, before it meets the words
    embeddings: Float[Tensor, "b l e"]
    words: Float[Tensor, "b l d"]
    maps: list[Tensor]  # F of Eq. 9, [b c y x]
    attention: list[Tensor]  # α of Eq. 8, [b n l]

    def features(self) -> dict[str, Callable[[], Tensor]]:
        return {
            "query": lambda: self.words,
            "visual": lambda: self.visual,
            "embeddings": lambda: self.embeddings.detach(),
            "attention": lambda: self.attention[-1],
        }

    def evidence(self) -> dict[str, Float[Tensor, "b l y x"]]:
        """Each cell's attention to the words, by the number of the encoder's stage."""
        stages = range(5 - len(self.maps), 5)
        return {
            f"pixel_word_attention_{stage}": rearrange(weights, "b (y x) l -> b l y x", y=features.shape[2]).detach()
            for stage, weights, features in zip(stages, self.attention, self.maps, strict=True)
        }


class SDA(nn.Module):
    """Images and expressions to one logit per pixel, from the finest response map.

    Expressions share the whole encoding of their image. With I3D a clip's logits are those of its target frame.
    """

    loss_features: tuple[str, ...] = ("responses",)

    def __init__(self, config: SDAConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SDAConfig()
        vision = config.vision
        self.vision: I3D | ResNet = I3D(vision) if isinstance(vision, I3DConfig) else ResNet(vision)
        self.text = WordEncoder(config.text)
        widths = self.vision.widths if isinstance(self.vision, I3D) else self.vision.widths[-LEVELS:]
        self.fusion = Interaction(widths, config)
        self.decoder = ResponseDecoder(widths, config.decoder_width, is_joined=config.flow == "independent")

    @property
    def feature_widths(self) -> dict[str, int]:
        text = self.config.text
        return {"query": text.width, "visual": self.vision.widths[-1], "embeddings": text.embedding}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        return self.decode(self.fuse(batch), features=features, explain=explain)

    def regions_of(self, frames: Float[Tensor, "i 3 h w"]) -> Int[Tensor, "i h w"]:
        """The labels of the target frames' superpixels, which an export gets as an input."""
        return superpixels(frames, self.config.regions, self.config.compactness)

    def encode_images(
        self, images: Float[Tensor, "i t 3 h w"], labels: Int[Tensor, "i h w"] | None = None
    ) -> EncodedImages:
        """Images, or clips whose target is the frame in the middle; `labels` are its superpixels where known."""
        return self._encode(images, images[:, images.shape[1] // 2], labels)

    def decode_expressions(
        self, encoded: EncodedImages, batch: Batch, *, features: Iterable[str] = (), explain: bool = False
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        return self.decode(self._fuse(encoded, batch), features=features, explain=explain)

    def fuse(self, batch: Batch) -> Fused:
        return self._fuse(self._encode(batch.images, batch.target_frames()), batch)

    def decode(
        self,
        fused: Fused,
        decoder: nn.Module | None = None,
        *,
        features: Iterable[str] = (),
        explain: bool = False,
    ) -> Output:
        """The output of `decoder`, for example a copy of `self.decoder`, or of this system's own."""
        responses = (self.decoder if decoder is None else decoder)(fused.maps)
        size = fused.batch.images.shape[-2:]
        available: dict[str, Callable[[], Any]] = {**fused.features(), "responses": lambda: responses}
        return Output(
            logits=F.interpolate(responses[0][:, None], size=size, mode="bilinear", align_corners=False)[:, 0],
            features=chosen_features(features, available, "SDA"),
            evidence=fused.evidence() if explain else {},
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Eq. 10: binary cross-entropy at every resolution."""
        if (masks := batch.masks) is None:
            raise InputError("SDA's loss needs masks, but this batch has none; use labelled samples.")
        if "responses" not in output.features:
            raise InputError(
                f"SDA's loss reads the features responses, but the output has {', '.join(output.features) or 'none'}; "
                "run the system with features=system.loss_features."
            )
        return {"mask": losses.multilevel_bce(output.features["responses"], masks)}

    def _encode(
        self,
        images: Float[Tensor, "i t 3 h w"],
        frames: Float[Tensor, "i 3 h w"],
        labels: Int[Tensor, "i h w"] | None = None,
    ) -> EncodedImages:
        labels = self.regions_of(frames) if labels is None else labels
        if not isinstance(self.vision, I3D):
            return EncodedImages(self.vision(frames)[-LEVELS:], labels)
        maps = self.vision(rearrange(images, "i t c h w -> i c t h w"))
        return EncodedImages([over_time(level, self.config.time) for level in maps], labels)

    def _fuse(self, encoded: EncodedImages, batch: Batch) -> Fused:
        embeddings, words = self.text(batch.token_ids, batch.token_mask)
        visual = [batch.expand(level) for level in encoded.maps]
        maps, attention = self.fusion(visual, words, batch.token_mask, batch.expand(encoded.labels))
        return Fused(batch, visual[-1], embeddings, words, maps, attention)


class Interaction(nn.Module):
    """Words, then regions, enter the maps of every level; each coarser result is added to the next finer one."""

    def __init__(self, widths: Sequence[int], config: SDAConfig) -> None:
        super().__init__()
        self.num_regions = most_regions(config.regions)
        inner = config.width if config.is_scaled else 1
        self.words = nn.ModuleList(
            WordGate(width, config.text.width, config.width, scale=inner**-0.5) for width in widths
        )
        self.regions = nn.ModuleList(RegionAttention(width, config.width, scale=inner**-0.5) for width in widths)
        pairs = zip(widths[1:], widths[:-1], strict=True) if config.flow == "top-down" else ()
        self.down = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for coarse, fine in pairs)

    def forward(
        self,
        visual: list[Tensor],
        words: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        labels: Int[Tensor, "b h w"],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The enhanced maps F `[b c y x]` and the attention α `[b n l]` of their cells to the words."""
        maps, attention = [], []
        for level, gate, regions in zip(visual, self.words, self.regions, strict=True):
            height, width = level.shape[-2:]
            gated, weights = gate(rearrange(level, "b c y x -> b (y x) c"), words, token_mask)
            enhanced = gated + regions(gated, *without_gaps(labels_at(labels, (height, width)), self.num_regions))
            maps.append(rearrange(enhanced, "b (y x) c -> b c y x", y=height))
            attention.append(weights)
        for index in reversed(range(len(self.down))):
            # In the other order, cheaper and with the same numbers, PyTorch 2.13 compiles to wrong gradients.
            coarse = F.interpolate(maps[index + 1], size=maps[index].shape[-2:], mode="bilinear", align_corners=False)
            maps[index] = maps[index] + self.down[index](coarse)
        return maps, attention


class WordGate(nn.Module):
    """Eq. 8: each cell gathers the words that matter to it, and what it gathered gates its own features."""

    def __init__(self, width: int, word_width: int, inner: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.pixel = nn.Linear(width, inner)  # g1
        # g2 has no bias, which would add the same to a cell's scores of all words.
        self.word = nn.Linear(word_width, inner, bias=False)
        self.gate = nn.Linear(word_width, width)  # g3

    def forward(
        self, visual: Float[Tensor, "b n c"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b n l"]]:
        """The gated features V_q, and the attention α."""
        # g1(V) g2(Q)ᵀ = V (W1ᵀ g2(Q)ᵀ) + b1 g2(Q)ᵀ and g3(αQ) = α (W3 Q) + b3, because α sums to 1: the same numbers,
        # without a map of the inner width.
        keys = self.word(words) * self.scale
        scores = visual @ (keys @ self.pixel.weight).mT + (keys @ self.pixel.bias)[:, None]
        attention = _softmax(scores, token_mask)
        context = attention @ F.linear(words, self.gate.weight) + self.gate.bias
        return torch.tanh(context) * visual, attention


class RegionAttention(nn.Module):
    """Eq. 9: the maxima over superpixels attend to each other; each cell gets what its region gathered."""

    def __init__(self, width: int, inner: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.query = nn.Linear(width, inner)  # gq
        self.key = nn.Linear(width, inner, bias=False)  # gk; a bias would add the same to all scores of a query
        self.value = nn.Linear(width, width)  # gv

    def forward(self, features: Float[Tensor, "b n c"], labels: Int[Tensor, "b n"], num: int) -> Float[Tensor, "b n c"]:
        regions, is_present = pool_regions(features, labels, num)
        scores = (self.query(regions) * self.scale) @ self.key(regions).mT
        return to_cells(_softmax(scores, is_present) @ self.value(regions), labels)


class ResponseDecoder(nn.Module):
    """A small convolutional network on each level's map; `is_joined` puts a map joined from all of them in front."""

    def __init__(self, widths: Sequence[int], width: int, *, is_joined: bool = False) -> None:
        super().__init__()
        self.levels = nn.ModuleList(ResponseHead(each, width) for each in widths)
        self.join = nn.Conv2d(len(widths), 1, 3, padding=1) if is_joined else None

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Logits `[b y x]`, from fine to coarse; the first is the answer."""
        responses = [level(features) for level, features in zip(self.levels, maps, strict=True)]
        if self.join is not None:
            size = responses[0].shape[-2:]
            upsampled = [F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in responses]
            responses.insert(0, self.join(torch.cat(upsampled, dim=1)))
        return [response[:, 0] for response in responses]


def _softmax(scores: Float[Tensor, "b n l"], is_real: Bool[Tensor, "b l"]) -> Float[Tensor, "b n l"]:
    """Over the real keys; finite where there is none."""
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~is_real[:, None], lowest).softmax(dim=-1)
