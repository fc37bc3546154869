"""Algorithm 1 of VEGA's Appendix A line by line, pixels repeated for every word: what our layer must equal."""

import torch
from einops import rearrange
from torch import Tensor

from deixis.layers.attention import Attention
from deixis.layers.visual_expression import VisualExpression


def literal(layer: VisualExpression, F_v: Tensor, Q_l: Tensor, mask_l: Tensor, ratio: float = 0.3) -> Tensor:
    """The visual expression Q_v `[b l d]` by the printed steps, with the weights of `layer`."""
    T, N = Q_l.shape[1], F_v.shape[1]
    X = l2norm(layer.similarity.pixels(F_v))
    Y = l2norm(layer.similarity.words(Q_l))
    S = torch.matmul(Y, X.transpose(1, 2))
    rank_index = torch.topk(S, k=int(N * ratio), dim=-1).indices
    M = torch.zeros_like(S).scatter(-1, rank_index, 1.0)
    M_hat = M * 1e4 - 1e4
    S_norm = torch.softmax(S + M_hat, dim=-1)
    repeated = F_v.unsqueeze(1).repeat(1, T, 1, 1)  # [b l n d], a copy as printed
    E = (M[..., None] * S_norm[..., None] * repeated).sum(2) / int(N * ratio)
    E = layer.cross.norm(E)
    Q_v = E + textbook_attention(layer.cross.attention, E, F_v, M_hat)
    Q_v = layer.context.norm(Q_v)
    return Q_v + textbook_attention(layer.context.attention, Q_v, Q_v, mask_l[:, None].float() * 1e4 - 1e4)


def textbook_attention(layer: Attention, queries: Tensor, context: Tensor, bias: Tensor) -> Tensor:
    """Every token projected to queries, keys and values, the scores written out."""
    query, key, value = layer.query(queries), layer.key(context), layer.value(context)
    query, key, value = (rearrange(each, "b n (h c) -> b h n c", h=layer.heads) for each in (query, key, value))
    scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5 + bias[:, None]
    return layer.out(rearrange(scores.softmax(-1) @ value, "b h n c -> b n (h c)"))


def l2norm(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)
