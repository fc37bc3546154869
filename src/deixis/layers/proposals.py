"""How a detector's proposals and a sentence are compared: directly, by the classes that it names, and for presence."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

FAINT = 1e-3  # lower class scores all count as this one
SHARPNESS = 4.0  # of the comparisons: it multiplies the rate at which their layers learn


class DirectMatch(nn.Module):
    """Each proposal's class scores and vector against one vector of the sentence, without a look at the others."""

    def __init__(self, query: int, embedding: int, classes: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Linear(query, 1, bias=False)  # of each word
        self.wanted = nn.Linear(query + embedding, classes)
        self.proposal = nn.Linear(width, width)
        self.sentence = nn.Linear(query, width)

    def forward(
        self,
        classes: Float[Tensor, "b k n"],
        tokens: Float[Tensor, "b k d"],
        query: Float[Tensor, "b l q"],
        embeddings: Float[Tensor, "b l e"],
        token_mask: Bool[Tensor, "b l"],
    ) -> Float[Tensor, "b k"]:
        shares = _shares(self.weight(query), token_mask)
        sentence = (shares @ query)[:, 0]
        wanted = self.wanted(torch.cat([sentence, (shares @ embeddings)[:, 0]], dim=-1))
        alike = self.proposal(tokens) @ self.sentence(sentence)[..., None] / tokens.shape[-1] ** 0.5
        return SHARPNESS * (2 * classes @ wanted[..., None] + alike)[..., 0]


class NamedClasses(nn.Module):
    """The detector's classes that the sentence names, as logits, and the log of each proposal's score for them."""

    def __init__(self, query: int, embedding: int, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Linear(query, 1, bias=False)  # of each word
        # Of each word alone, which is in few batches, and of the sentence.
        self.words = nn.Parameter(torch.zeros(vocabulary, classes))
        self.classes = nn.Linear(query + embedding, classes)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(
        self,
        classes: Float[Tensor, "b k n"],
        query: Float[Tensor, "b l q"],
        embeddings: Float[Tensor, "b l e"],
        token_ids: Int[Tensor, "b l"],
        token_mask: Bool[Tensor, "b l"],
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b k"]]:
        shares = _shares(self.weight(query), token_mask)
        words = (
            self.classes(torch.cat([shares @ query, shares @ embeddings], dim=-1)) + 2 * shares @ self.words[token_ids]
        )
        named = SHARPNESS * words[:, 0]
        # The most probable class counts in full, so that a word for ten classes asks no more of a proposal than one.
        relative = (named - named.amax(1, keepdim=True)).exp()
        return named, (classes @ relative[..., None])[..., 0].clamp(min=FAINT).log()


class ProposalPresence(nn.Module):
    """Whether the referent is in the image, from the best fit, the share of "nothing here" and the chosen entries."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([1.0, 0.5]))
        self.rest = nn.Sequential(nn.Linear(2 * width + 4, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(
        self,
        entries: Float[Tensor, "b entries d"],
        choice: Float[Tensor, "b entries"],
        named: Float[Tensor, "b n"],
        fit: Float[Tensor, "b k"],
    ) -> Float[Tensor, " b"]:
        shares = choice.softmax(1)[:, :-1]
        some, best = choice[:, :-1].logsumexp(1) - choice[:, -1], fit.amax(1)
        facts = torch.stack([some / 4, best, (shares * fit).sum(1), named.softmax(1).amax(1)], dim=1)
        chosen = (shares[:, None] @ entries[:, :-1])[:, 0]
        return (
            self.gain[0] * (best + 2)
            + self.gain[1] * some
            + self.rest(torch.cat([facts, entries[:, -1], chosen], dim=1))[:, 0]
        )


def _shares(weights: Float[Tensor, "b l 1"], token_mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b 1 l"]:
    """The share of each word in its sentence; padding has none."""
    return weights[..., 0].masked_fill(~token_mask, -1e4).softmax(1)[:, None]


def named_loss(
    named: Float[Tensor, "b n"], classes: Float[Tensor, "b k n"], right: Float[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """Cross-entropy with the squared class scores of the right proposals, where there are some."""
    target = (right[:, None] @ classes)[:, 0].square()
    weights = target.sum(1, keepdim=True)
    nll = -(target / weights.clamp(min=1e-9) * named.log_softmax(1)).sum(1)
    is_known = right.sum(1) > 0
    return (nll * is_known).sum() / is_known.sum().clamp(min=1)
