"""ProposalMatching: a detector proposes objects, the words choose one of them, and a small head outlines it.

- NanoDet's best cells, whatever their class, are the proposals: their features, class scores, boxes and colours
- each proposal's vector and class scores are compared with the sentence directly, which is learned first; then
  proposals attend to each other, with a bias for how each pair of boxes lies, and to the words
- the detector's classes that the sentence names are learned from the class scores of the right proposals; how well each
  proposal fits them counts for its choice, and the best fit of all for presence
- one more entry stands for "nothing here"; the presence head reads its share and what the layers know of it
- the outline is a map of 28x28 cells in the chosen box, from the pixels' features and what the layers know of it
- in training some words are replaced by the unknown one, which would otherwise never have been seen
- an image is encoded once for all of its expressions
- from no paper; parts after RangiLyu's NanoDet and Mask R-CNN (He et al., ICCV 2017). A mask that fills its box teaches
  the choice alone, so that data with boxes and no masks can be trained on
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..layers.proposals import DirectMatch, NamedClasses, ProposalPresence, named_loss
from ..layers.regions import enlarged, mask_boxes, paste_boxes, sample_boxes
from ..system import chosen_features
from ..text.gru import GRUConfig, WordEncoder
from ..text.reads_text import ReadsText
from ..text.words import SPECIAL, UNKNOWN
from ..vision.nanodet import NanoDet, NanoDetConfig, keep_best, pairwise_iou

GRID, SIDE = 14, 28  # cells of the features that an outline is made from, and of the outline
AROUND = 0.08  # of a box's sides, added on each side before it is outlined
RIGHT, NEAR = 0.5, 0.2  # overlap with the referent's box: of right proposals, and of the best where none is right
COLOURS, SHAPE = (8, 4), (4, 3)  # rows and columns of a proposal's colours and features
OUTSIDE = -10.0


@dataclass(frozen=True, kw_only=True)
class ProposalMatchingConfig(ReadsText):
    """The detector, the words, how many proposals an image has, and the widths of the layers that match them."""

    detector: NanoDetConfig = field(default_factory=NanoDetConfig)
    text: GRUConfig = field(default_factory=lambda: GRUConfig(vocabulary=1500, embedding=128, width=128))
    proposals: int = 40
    width: int = 128
    heads: int = 4
    layers: int = 3
    mask_width: int = 64
    presence: bool = True  # a head decides whether there is a mask; False: there always is one
    unknown: float = 0.08  # of the words, replaced by the unknown one in training, so that it means little

    def __post_init__(self) -> None:
        if min(self.proposals, self.width, self.heads, self.layers, self.mask_width) < 1 or self.width % self.heads:
            raise InputError(
                f"ProposalMatching has {self.proposals} proposals, {self.layers} layers of width {self.width} with "
                f"{self.heads} heads, and a mask width of {self.mask_width}; expected positive numbers, and a width "
                "that the heads divide."
            )

    def build(self) -> "ProposalMatching":
        return ProposalMatching(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.layers


@dataclass(frozen=True)
class Proposals:
    """An image's proposals: boxes in pixels, class scores, vectors, the bias of each pair, and the map for outlines."""

    boxes: Float[Tensor, "i k 4"]
    classes: Float[Tensor, "i k n"]
    tokens: Float[Tensor, "i k d"]
    bias: Float[Tensor, "i heads k+1 k+1"]
    pixels: Float[Tensor, "i c y x"]


class ProposalMatching(nn.Module):
    """Images and expressions to the outline of the proposal that the words choose."""

    loss_features: tuple[str, ...] = ("choice", "boxes", "classes", "named", "outline")

    def __init__(self, config: ProposalMatchingConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ProposalMatchingConfig()
        self.detector = NanoDet(config.detector)
        self.text = WordEncoder(config.text)
        self.neck = _Neck((*self.detector.stage_widths, config.detector.neck), config.mask_width)
        self.proposal = _ProposalEncoder(config)
        self.nothing = nn.Parameter(0.02 * torch.randn(config.width))
        self.words = nn.Linear(config.text.width, config.width)
        text, classes = config.text, config.detector.classes
        self.direct = DirectMatch(text.width, text.embedding, classes, config.width)
        self.named = NamedClasses(text.width, text.embedding, text.vocabulary, classes)
        self.sentence = nn.ModuleList(nn.Linear(config.width, 2 * config.width) for _ in range(config.layers))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                config.width, config.heads, 3 * config.width, 0.1, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.score = nn.Linear(config.width, 1, bias=False)  # a bias would shift all scores of the softmax alike
        self.outline = _Outline(config.width, config.mask_width)
        self.present = ProposalPresence(config.width) if config.presence else None

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.config.text.width, "embeddings": self.config.text.embedding}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        encoded = self.encode_images(batch.target_frames()[:, None])
        return self.decode_expressions(encoded, batch, features=features, explain=explain)

    def domain_map(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i y x c"]:
        """The detector's first stage: edges and textures, by which photographs are told from drawings."""
        return rearrange(self.detector.stages[0](self.detector.embed(images)), "i c y x -> i y x c")

    def encode_images(self, images: Float[Tensor, "i 1 3 h w"]) -> Proposals:
        images = rearrange(images, "i 1 c h w -> i c h w")
        found = self.detector(images)
        height, width = images.shape[-2:]
        limit = found.boxes.new_tensor([width, height, width, height])
        kept = keep_best(
            found.boxes, found.logits.amax(-1), torch.zeros_like(found.logits[..., 0]), self.config.proposals, 0.7
        )
        boxes, logits, cells = (_rows(each, kept) for each in (found.boxes, found.logits, found.features))
        boxes = torch.minimum(boxes.clamp(min=0), limit)
        pixels = self.neck([*found.stages, found.neck[0]])
        classes = logits.sigmoid()
        tokens, bias = self.proposal(images, pixels, boxes / limit, boxes, classes, cells)
        return Proposals(boxes, classes, tokens, bias, pixels)

    def decode_expressions(
        self, encoded: Proposals, batch: Batch, *, features: Iterable[str] = (), explain: bool = False
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        token_ids = self._some_unknown(batch)
        embeddings, query = self.text(token_ids, batch.token_mask)
        owners = batch.image_index
        if owners is None:
            owners = torch.arange(len(batch), device=query.device)
        boxes, tokens = encoded.boxes[owners], encoded.tokens[owners]
        entries, choice = self._match(tokens, encoded.bias[owners], query, batch.token_mask)
        classes = encoded.classes[owners]
        direct = self.direct(classes, tokens, query, embeddings, batch.token_mask)
        named, fit = self.named(classes, query, embeddings, token_ids, batch.token_mask)
        choice = choice + F.pad(direct + self.named.gain * fit, (0, 1))
        size = (batch.images.shape[-2], batch.images.shape[-1])
        best = choice[:, :-1].argmax(1)
        frames = enlarged(_rows(boxes, best[:, None])[:, 0], AROUND)

        def outlines(of: Int[Tensor, " b"], within: Float[Tensor, "b 4"]) -> Float[Tensor, "b rows columns"]:
            return self.outline(encoded.pixels, owners, within, _rows(entries, of[:, None])[:, 0])

        def referents() -> Tensor:
            if batch.masks is None:
                return outlines(best, frames)
            return outlines(*_referent_frames(boxes, batch.masks))

        available = {
            "query": lambda: query,
            "embeddings": lambda: embeddings.detach(),
            "choice": lambda: choice,
            "boxes": lambda: boxes,
            "classes": lambda: classes,
            "named": lambda: named,
            "outline": referents,
        }
        return Output(
            logits=paste_boxes(outlines(best, frames), frames, size, OUTSIDE),
            presence=None if self.present is None else self.present(entries, choice, named, fit),
            features=chosen_features(features, available, "ProposalMatching"),
            evidence={"proposals": _painted(boxes, choice, size)} if explain else {},
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        if (masks := batch.masks) is None:
            raise InputError("ProposalMatching's loss needs masks, but this batch has none; use labelled samples.")
        if not output.features.keys() >= set(self.loss_features):
            raise InputError(
                f"ProposalMatching's loss reads the features {', '.join(self.loss_features)}, but the output has "
                f"{', '.join(output.features) or 'none'}; run the system with features=system.loss_features."
            )
        choice, boxes, classes, named, outline = (output.features[name] for name in self.loss_features)
        is_present = masks.flatten(1).any(1)
        overlap = pairwise_iou(mask_boxes(masks)[:, None], boxes.detach())[:, 0] * is_present[:, None]
        best = overlap.amax(1, keepdim=True)
        right = overlap * ((overlap >= RIGHT) | (overlap >= best.clamp(min=NEAR)))
        target = torch.cat([right, (~is_present)[:, None].to(right.dtype)], dim=1)
        is_known = target.sum(1) > 0  # where no proposal is near the referent nothing can be chosen
        nll = -(target / target.sum(1, keepdim=True).clamp(min=1e-6) * choice.log_softmax(1)).sum(1)
        terms = {"choice": (nll * is_known).sum() / is_known.sum().clamp(min=1)}
        terms["named"] = named_loss(named, classes.detach(), right)
        if output.presence is not None:
            terms["presence"] = losses.bce(output.presence, is_present)
        _, frames = _referent_frames(boxes.detach(), masks)
        each_own = torch.arange(len(masks), device=masks.device)
        cover = sample_boxes(masks[:, None].float(), each_own, frames, 1.0, (SIDE, SIDE))[:, 0] > 0.5
        has_outline = is_present & ~_fills_its_box(masks)
        weight = has_outline.to(outline.dtype) / has_outline.sum().clamp(min=1)
        each = F.binary_cross_entropy_with_logits(outline, cover.to(outline.dtype), reduction="none").mean((1, 2))
        terms["outline"] = (each * weight).sum()
        chosen = has_outline.nonzero()[:, 0]
        terms["dice"] = losses.dice(outline[chosen], cover[chosen]) if len(chosen) else outline.sum() * 0.0
        return terms

    def _some_unknown(self, batch: Batch) -> Int[Tensor, "b l"]:
        """In training, some words of the sentences that refer to something are replaced by the unknown word."""
        if not self.training or batch.masks is None:
            return batch.token_ids
        draws = torch.rand(batch.token_ids.shape, device=batch.token_ids.device)
        replaced = (draws < self.config.unknown) & batch.masks.flatten(1).any(1)[:, None]
        return batch.token_ids.masked_fill(replaced, SPECIAL.index(UNKNOWN))

    def _match(
        self, tokens: Float[Tensor, "b k d"], bias: Tensor, query: Tensor, token_mask: Tensor
    ) -> tuple[Float[Tensor, "b k+1 d"], Float[Tensor, "b k+1"]]:
        """Each proposal among the words, with "nothing here" at the end, and their scores."""
        nothing = self.nothing.to(tokens.dtype).expand(tokens.shape[0], 1, -1)
        entries, words = torch.cat([tokens, nothing], dim=1), self.words(query)
        pairs = rearrange(bias, "b heads k j -> (b heads) k j")
        hidden = torch.zeros_like(token_mask, dtype=words.dtype).masked_fill(~token_mask, -1e4)
        sentence = words.masked_fill(~token_mask[..., None], 0.0).sum(1) / token_mask.sum(1, keepdim=True).clamp(min=1)
        for scaled, layer in zip(self.sentence, self.layers, strict=True):
            scale, shift = scaled(sentence)[:, None].chunk(2, dim=-1)
            entries = entries * (1 + scale) + shift
            entries = layer(entries, words, tgt_mask=pairs, memory_key_padding_mask=hidden)
        entries = self.norm(entries)
        return entries, self.score(entries)[..., 0]


class _Neck(nn.Module):
    """The trunk's four maps and the detector's finest one, in one width at stride 4."""

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(own, width, 1) for own in widths)
        self.mix = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "i c y x"]:
        fine, middle, *coarse, last = (lateral(each) for lateral, each in zip(self.lateral, maps, strict=True))
        for each in (*coarse, last):
            middle = middle + F.interpolate(each, size=middle.shape[-2:], mode="bilinear", align_corners=False)
        middle = F.gelu(self.mix(middle))
        return fine + F.interpolate(middle, size=fine.shape[-2:], mode="bilinear", align_corners=False)


class _ProposalEncoder(nn.Module):
    """What is known of each proposal in one vector, and of each pair of them as a bias of each attention head."""

    def __init__(self, config: ProposalMatchingConfig) -> None:
        super().__init__()
        width = config.width
        self.cells = nn.Linear(config.detector.neck, width)
        self.classes = nn.Linear(config.detector.classes, width)
        self.place = nn.Sequential(nn.Linear(8, width), nn.GELU(), nn.Linear(width, width))
        colours = 3 * COLOURS[0] * COLOURS[1]
        self.colours = nn.Sequential(nn.Linear(colours, width), nn.GELU(), nn.Linear(width, width))
        self.shape = nn.Linear(config.mask_width * SHAPE[0] * SHAPE[1], width)
        self.norm = nn.LayerNorm(width)
        self.pairs = nn.Sequential(nn.Linear(7, 32), nn.GELU(), nn.Linear(32, config.heads))

    def forward(
        self,
        images: Tensor,
        pixels: Tensor,
        places: Float[Tensor, "i k 4"],
        boxes: Float[Tensor, "i k 4"],
        classes: Float[Tensor, "i k n"],
        cells: Tensor,
    ) -> tuple[Float[Tensor, "i k d"], Float[Tensor, "i heads k+1 k+1"]]:
        count = boxes.shape[1]
        owners = torch.arange(images.shape[0], device=images.device).repeat_interleave(count)
        flat = rearrange(boxes, "i k four -> (i k) four")
        colours = sample_boxes(F.avg_pool2d(images, 4, ceil_mode=True), owners, flat, 4.0, COLOURS)
        shapes = sample_boxes(pixels, owners, flat, 4.0, SHAPE)
        centre, size = (places[..., :2] + places[..., 2:]) / 2, places[..., 2:] - places[..., :2]
        facts = (torch.cat([places, centre, size], dim=-1) * 4 - 2).to(pixels.dtype)
        known = self.cells(cells) + self.classes(4 * classes) + self.place(facts)
        known = known + rearrange(
            self.colours(colours.flatten(1)) + self.shape(shapes.flatten(1)), "(i k) d -> i k d", k=count
        )
        return self.norm(known), F.pad(self._pairs(places, centre, size, pixels.dtype), (0, 1, 0, 1))

    def _pairs(self, places: Tensor, centre: Tensor, size: Tensor, dtype: torch.dtype) -> Float[Tensor, "i heads k k"]:
        apart = (centre[:, :, None] - centre[:, None]) * 4
        ratio = (size[:, :, None].clamp(min=0.01) / size[:, None].clamp(min=0.01)).log()
        side = torch.tanh(apart * 8)
        overlap = pairwise_iou(places, places)[..., None]
        facts = torch.cat([apart, ratio, side, overlap], dim=-1).to(dtype)
        return rearrange(self.pairs(facts), "i k j heads -> i heads k j")


class _Outline(nn.Module):
    """The map of one object in its box, from the pixels' features and the proposal's vector."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.kind = nn.Linear(width, inner)
        self.first, self.second = nn.Conv2d(inner, inner, 3, padding=1), nn.Conv2d(inner, inner, 3, padding=1)
        self.last = nn.Conv2d(inner, 1, 3, padding=1)

    def forward(
        self, pixels: Tensor, owners: Tensor, frames: Tensor, tokens: Tensor
    ) -> Float[Tensor, "b rows columns"]:
        features = sample_boxes(pixels, owners, frames, 4.0, (GRID, GRID)) + self.kind(tokens)[:, :, None, None]
        features = F.gelu(self.first(F.gelu(features))) + features
        features = F.gelu(self.second(F.gelu(features))) + features
        features = F.interpolate(features, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return self.last(F.gelu(features))[:, 0]


def _rows(values: Float[Tensor, "b n d"], positions: Int[Tensor, "b k"]) -> Float[Tensor, "b k d"]:
    return values.gather(1, positions[..., None].expand(-1, -1, values.shape[-1]))


def _referent_frames(boxes: Float[Tensor, "b k 4"], masks: Tensor) -> tuple[Int[Tensor, " b"], Float[Tensor, "b 4"]]:
    """The proposal nearest to each referent, and the box to outline: the proposal's, or where none is right its own."""
    own = mask_boxes(masks).to(boxes.dtype)
    overlap, nearest = pairwise_iou(own[:, None], boxes)[:, 0].max(1)
    chosen = torch.where((overlap >= RIGHT)[:, None], _rows(boxes, nearest[:, None])[:, 0], own)
    return nearest, enlarged(chosen, AROUND)


def _fills_its_box(masks: Tensor) -> Tensor:
    left, top, right, bottom = mask_boxes(masks).unbind(1)
    return masks.flatten(1).sum(1) >= 0.98 * (right - left) * (bottom - top)


@torch.no_grad()
def _painted(boxes: Tensor, choice: Tensor, size: tuple[int, int], side: int = 32) -> Float[Tensor, "b y x"]:
    """The probability of the most probable proposal over each cell."""
    shares = choice.softmax(1)[:, :-1]
    rows, columns = ((torch.arange(side, device=boxes.device) + 0.5) * (length / side) for length in size)
    is_row = (rows >= boxes[..., 1:2]) & (rows <= boxes[..., 3:])
    is_column = (columns >= boxes[..., :1]) & (columns <= boxes[..., 2:3])
    inside = is_row[..., :, None] & is_column[..., None, :]
    return (inside * shares[..., None, None]).amax(1)
