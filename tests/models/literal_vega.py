"""VEGA's decoder by Sec. 3.3 and the module's docstring, layer by layer in the textbook order: ours must equal it."""

import runpy
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from deixis.batch import Batch
from deixis.layers.attention import CrossAttention
from deixis.models.vega import VEGA

LITERAL_VIS = runpy.run_path(str(Path(__file__).parents[1] / "layers" / "literal_vis.py"))["literal"]


def literal(model: VEGA, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits `[b h w]`, and of each stage's attention, fine to coarse, the share of the visual expression `[b s]`."""
    words = model.text(batch.token_ids, batch.token_mask)
    encoded, _ = model.fusion(batch.images[:, 0], words, batch.token_mask)
    F_v = model.pixels(encoded[3]).flatten(1, 2)
    Q_l, _ = cross_attention(model.guide.enhance, model.words(words), F_v)
    Q_v = LITERAL_VIS(model.guide.expression, F_v, Q_l, batch.token_mask)
    G, mask = torch.cat((Q_l, Q_v), 1), torch.cat((batch.token_mask, batch.token_mask), 1)

    features, weights = cross_attention(model.look, F_v, G, mask)
    features = F.relu(to_map(features, encoded[3]))
    attention = [weights]
    for number in (2, 1, 0):  # strides 16, 8 and 4
        stage, beside = model.stages[number], to_map(encoded[number].flatten(1, 2), encoded[number])
        features = F.interpolate(features, size=beside.shape[-2:], mode="bilinear", align_corners=False)
        both = torch.cat((beside, features), 1)
        projection = torch.cat((stage.encoded.weight, stage.coarser.weight), 1)
        features = F.conv2d(both, projection[:, :, None, None], stage.encoded.bias)
        features = F.conv2d(features, stage.convolution.weight, stage.convolution.bias, padding=1)
        features, weights = cross_attention(stage.look, features.flatten(2).mT, G, mask)
        features = F.relu(to_map(features, encoded[number]))
        attention = [weights, *attention]
    logits = F.conv2d(features, model.mask.weight[:, :, None, None], model.mask.bias)
    logits = F.interpolate(logits, size=batch.images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    visual = [weights[..., Q_l.shape[1] :].sum(-1).mean((1, 2)) for weights in attention]
    return logits, torch.stack(visual, 1)


def cross_attention(
    layer: CrossAttention, queries: Tensor, context: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Normalised queries plus what they find, and the attention `[b h q k]`, its scores written out."""
    queries, attend = layer.norm(queries), layer.attention
    query, key, value = attend.query(queries), attend.key(context), attend.value(context)
    query, key, value = (rearrange(each, "b n (h c) -> b h n c", h=attend.heads) for each in (query, key, value))
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None], -torch.inf)
    weights = scores.softmax(-1)
    return queries + attend.out(rearrange(weights @ value, "b h n c -> b n (h c)")), weights


def to_map(tokens: Tensor, like: Tensor) -> Tensor:
    """The tokens `[b n d]` on the grid of `like` `[b y x c]`, channels first."""
    return rearrange(tokens, "b (y x) d -> b d y x", y=like.shape[1])
