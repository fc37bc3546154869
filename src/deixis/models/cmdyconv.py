"""CMDyConv, a reconstruction: context-modulated dynamic convolution for clips (Hao Wang et al., AAAI 2020).

Neither its text nor its code could be read, only what its abstract and SDA's Appendix C.3 say, so that this is not a
reproduction; every size is ours.

- a convolutional LSTM reads the motion from I3D's map at stride 16, whose last state and the cells' coordinates are X
- three times, a 3x3 kernel for each cell and group of channels is predicted from the sentence and the cell's
  surroundings; it convolves X, and what it gives is added to X
- the small convolutional network of SDA's base gives the response map. Masks: above half of its maximum
- loss: binary cross-entropy with foreground times 1.5, as in ACGA (Wang et al., ICCV 2019)
- SDA's encoders: I3D, GloVe and a bidirectional GRU, of whose features the mean is the sentence
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..layers.coordinates import NUM_COORDINATES, coordinates
from ..layers.response_head import ResponseHead
from ..system import chosen_features
from ..text.gru import GRUConfig, WordEncoder
from ..text.reads_text import ReadsText
from ..vision.i3d import I3D, I3DConfig

KERNEL = 3  # cells of a predicted kernel's side


@dataclass(frozen=True, kw_only=True)
class CMDyConvConfig(ReadsText):
    """`width` is that of X and of the layer that kernels are predicted from; channels of a group share a kernel."""

    vision: I3DConfig = field(default_factory=lambda: I3DConfig(levels=("Mixed_4f",)))
    text: GRUConfig = field(default_factory=GRUConfig)
    width: int = 256
    groups: int = 16
    rounds: int = 3
    decoder_width: int = 256
    foreground_weight: float = 1.5

    def __post_init__(self) -> None:
        counts = (self.width, self.groups, self.rounds, self.decoder_width)
        if min(counts) < 1 or self.width % self.groups or not self.foreground_weight > 0:
            raise InputError(
                f"CMDyConv's width is {self.width}, its groups {self.groups}, its rounds {self.rounds}, its "
                f"decoder_width {self.decoder_width} and its foreground_weight {self.foreground_weight}; expected "
                "positive numbers, and a width that the groups divide."
            )
        if len(self.vision.levels) != 1:
            raise InputError(f"CMDyConv reads one level of I3D, not {len(self.vision.levels)}; give one, as Mixed_4f.")

    def build(self) -> "CMDyConv":
        return CMDyConv(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.vision.depth


class CMDyConv(nn.Module):
    """Clips and expressions to one logit per pixel of the target frame.

    Expressions share the encoding of their clip.
    """

    loss_features: tuple[str, ...] = ("responses",)

    def __init__(self, config: CMDyConvConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CMDyConvConfig()
        self.vision = I3D(config.vision)
        self.text = WordEncoder(config.text)
        self.motion = ConvolutionalLSTM(self.vision.widths[0], config.width)
        self.place = nn.Conv2d(config.width + NUM_COORDINATES, config.width, 1)
        self.rounds = nn.ModuleList(
            DynamicConvolution(config.width, config.text.width, config.groups) for _ in range(config.rounds)
        )
        self.decoder = ResponseHead(config.width, config.decoder_width)

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.config.text.width, "embeddings": self.config.text.embedding}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        return self.decode_expressions(self.encode_images(batch.images), batch, features=features, explain=explain)

    def encode_images(self, images: Float[Tensor, "i t 3 h w"]) -> Float[Tensor, "i d y x"]:
        """X, before any word."""
        (level,) = self.vision(rearrange(images, "i t c h w -> i c t h w"))
        state = self.motion(rearrange(level, "i c t y x -> i t c y x"))
        places = repeat(coordinates(state), "(y x) place -> i place y x", i=state.shape[0], y=state.shape[2])
        return self.place(torch.cat([state, places], dim=1))

    def decode_expressions(
        self, encoded: Tensor, batch: Batch, *, features: Iterable[str] = (), explain: bool = False
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        embeddings, words = self.text(batch.token_ids, batch.token_mask)
        # The features of padding are zero.
        sentence = words.sum(1) / batch.token_mask.sum(1, keepdim=True).clamp(min=1).to(words.dtype)
        maps, strengths = batch.expand(encoded), {}
        for number, each in enumerate(self.rounds, start=1):
            maps, strengths[f"kernel_strength_{number}"] = each(maps, sentence)
        response = self.decoder(maps)
        available: dict[str, Callable[[], Any]] = {
            "query": lambda: words,
            "embeddings": embeddings.detach,
            "responses": lambda: [response[:, 0]],
        }
        size = batch.images.shape[-2:]
        return Output(
            logits=F.interpolate(response, size=size, mode="bilinear", align_corners=False)[:, 0],
            features=chosen_features(features, available, "CMDyConv"),
            evidence={name: each.detach() for name, each in strengths.items()} if explain else {},
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Binary cross-entropy on the grid of the response map, with the foreground weighted."""
        if (masks := batch.masks) is None:
            raise InputError("CMDyConv's loss needs masks, but this batch has none; use labelled samples.")
        if "responses" not in output.features:
            raise InputError(
                f"CMDyConv's loss reads the features responses, but the output has "
                f"{', '.join(output.features) or 'none'}; run the system with features=system.loss_features."
            )
        (response,) = output.features["responses"]
        right = losses.cell_masks(masks, (response.shape[-2], response.shape[-1])).float()
        weight = response.new_tensor(self.config.foreground_weight, dtype=torch.float32)
        return {"mask": F.binary_cross_entropy_with_logits(response.float(), right, pos_weight=weight)}


class ConvolutionalLSTM(nn.Module):
    """A convolutional LSTM with 3x3 kernels over time (Shi et al., NeurIPS 2015); its last state."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.given = nn.Conv2d(inputs, 4 * width, 3, padding=1)
        self.recurrent = nn.Conv2d(width, 4 * width, 3, padding=1, bias=False)

    def forward(self, frames: Float[Tensor, "i t c y x"]) -> Float[Tensor, "i d y x"]:
        gates = rearrange(
            self.given(rearrange(frames, "i t c y x -> (i t) c y x")), "(i t) d y x -> t i d y x", i=frames.shape[0]
        )
        state = cell = torch.zeros_like(gates[0].chunk(4, dim=1)[0])
        for own in gates:
            enter, forget, new, leave = (own + self.recurrent(state)).chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
            state = torch.sigmoid(leave) * torch.tanh(cell)
        return state


class DynamicConvolution(nn.Module):
    """X convolved with a kernel for each cell and group, predicted from the sentence and the cell's surroundings."""

    def __init__(self, width: int, word_width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.surroundings = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.reduce = nn.Conv2d(width + word_width, width, 1)
        self.kernels = nn.Conv2d(width, groups * KERNEL**2, 1)
        self.mix = nn.Conv2d(width, width, 1, bias=False)  # a norm follows, which has a shift of its own
        self.norm = nn.BatchNorm2d(width)

    def forward(
        self, maps: Float[Tensor, "b d y x"], sentence: Float[Tensor, "b e"]
    ) -> tuple[Float[Tensor, "b d y x"], Float[Tensor, "b y x"]]:
        """The next X, and the length of each cell's kernels."""
        height, width = maps.shape[-2:]
        words = sentence[..., None, None].expand(-1, -1, height, width)
        kernels = self.kernels(F.relu(self.reduce(torch.cat([self.surroundings(maps), words], dim=1))))
        kernels = rearrange(kernels, "b (group k) y x -> b group k (y x)", group=self.groups)
        around = F.unfold(maps, KERNEL, padding=KERNEL // 2)
        around = rearrange(around, "b (group c k) n -> b group c k n", group=self.groups, k=KERNEL**2)
        convolved = einsum(kernels, around, "b group k n, b group c k n -> b group c n")
        convolved = rearrange(convolved, "b group c (y x) -> b (group c) y x", y=height)
        strength = rearrange(kernels.square().sum((1, 2)).sqrt(), "b (y x) -> b y x", y=height)
        return maps + F.relu(self.norm(self.mix(convolved))), strength
