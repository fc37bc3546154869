"""ACP, a reconstruction: concepts of each modality, which the adapted features must preserve (Liu et al., CVPR 2021).

Only the abstract of "Adaptive Cross-Modal Prototypes for Cross-Domain Visual-Language Retrieval" (Yang Liu, Qingchao
Chen, Samuel Albanie) could be read, so that this is not a reproduction: what it names is filled with plain forms of
ours. SDA's appendix cites another work for it, and replaces concepts of images by concepts of instances.

- concepts: before the first step, features of a frozen network over each instance's foreground are grouped by k-means
  over both domains, and so are the mean word embeddings of the expressions
- preservation: learned prototypes must assign the adapted instance and query features to the same concepts, softly
- information: in each domain assignments are to be sharp, and all concepts used
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Domains, Output
from ..errors import InputError, ModelError
from ..layers.domains import Domain, PairObjective, all_rows, photo_cells
from ..layers.moving_average import MovingAverage
from ..records import Config
from ..vision.resnet import ResNet, ResNetConfig, load_pretrained


@dataclass(frozen=True, kw_only=True)
class ACPConfig(Config):
    """`num_steps` is the length of the training, over which the weights grow; None takes the Run's.

    The frozen network is `encoder`, filled from the published file `encoder_weights`, or without an encoder a copy of
    the system as it starts. A target's instance is where the system's own probability exceeds `high`. At most `most`
    instances and expressions are clustered.
    """

    num_steps: int | None = None
    weight: float = 0.1
    information_weight: float = 0.1
    concepts: int = 100
    temperature: float = 0.1
    high: float = 0.9
    encoder: ResNetConfig | None = None
    encoder_weights: str | None = None
    most: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [each for each in (self.num_steps, self.concepts, self.most) if each is not None]
        if min(counts) < 1 or not min(self.weight, self.information_weight) >= 0 or not self.temperature > 0:
            raise InputError(
                f"ACP's num_steps are {self.num_steps}, its concepts {self.concepts}, its most {self.most}, its "
                f"temperature {self.temperature} and its weights {(self.weight, self.information_weight)}; expected "
                "positive numbers and weights of 0 or more."
            )
        if not 0 < self.high < 1:
            raise InputError(f"ACP's threshold is {self.high}; expected a probability between 0 and 1.")
        if (self.encoder is None) != (self.encoder_weights is None):
            raise InputError(
                "ACP needs encoder and encoder_weights together, a ResNet and its published file, or neither, for a "
                "copy of the system."
            )

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "ACP":
        return ACP(system, self)


class ACP(PairObjective):
    """The terms of the system's own loss on the source, and `pixels`, `words` and `information`."""

    instance_centres: Tensor
    word_centres: Tensor

    def __init__(self, system: nn.Module, config: ACPConfig) -> None:
        super().__init__(system, config, ("visual", "query", "embeddings"))
        visual, query, _ = self.widths("visual", "query", "embeddings")
        self.frozen = MovingAverage(system if config.encoder is None else ResNet(config.encoder))  # never updated
        self.instance_prototypes = nn.Parameter(torch.randn(config.concepts, visual))
        self.word_prototypes = nn.Parameter(torch.randn(config.concepts, query))
        self.register_buffer("instance_centres", torch.empty(0))
        self.register_buffer("word_centres", torch.empty(0))

    def alignment(self, source: Domain, target: Domain, step: int) -> dict[str, Tensor]:
        if not self.word_centres.numel():
            raise ModelError("ACP has no concepts yet; call prepare with both domains before its terms.")
        pixels, pixel_information = _summed(map(self._instances, (source, target)))
        words, word_information = _summed(map(self._expressions, (source, target)))
        information = -self.config.information_weight * (pixel_information + word_information)
        weight = self.config.weight * self.ramp(step)
        return {"pixels": weight * pixels, "words": weight * words, "information": weight * information}

    @torch.no_grad()
    def prepare(self, batches: Domains) -> None:
        """The concepts: centres of the instances and of the expressions of both domains."""
        if self.config.encoder_weights is not None:
            load_pretrained(cast(ResNet, self.frozen.network), self.config.encoder_weights)
        self.eval()
        found: tuple[list[Tensor], list[Tensor]] = [], []
        for domain, is_source in ((batches.source, True), (batches.target, False)):
            for batch in domain:
                if is_source and batch.masks is None:
                    raise InputError("ACP's concepts need the source's masks, but a batch has none; label the source.")
                output = self.system(batch, features=("embeddings",)).float()
                fixed = self._fixed(batch).float()
                instances, is_found = foreground_means(fixed, batch, output, self.config.high)
                found[0].append(instances[is_found].cpu())
                found[1].append(_word_means(output.features["embeddings"], batch).cpu())
        instances, expressions = (torch.cat(rows) for rows in found)
        if not len(instances):
            raise InputError("ACP found no instance in either domain, as all masks are empty; use other samples.")
        device = self.instance_prototypes.device
        self.instance_centres = self._centres(instances).to(device)
        self.word_centres = self._centres(expressions).to(device)

    def _fixed(self, batch: Batch) -> Float[Tensor, "b d y x"]:
        """The map of the frozen network."""
        if self.config.encoder is None:
            return cast(Tensor, self.frozen(batch, features=("visual",)).features["visual"])
        return batch.expand(self.frozen(batch.target_frames())[-1])

    def _instances(self, domain: Domain) -> tuple[Tensor, Tensor]:
        batch, output = domain.batch, domain.output
        means, is_found = foreground_means(output.features["visual"], batch, output, self.config.high)
        right, is_fixed_found = foreground_means(self._fixed(batch).float(), batch, output, self.config.high)
        both = is_found & is_fixed_found
        return self._preserved(means[both], self.instance_prototypes, right[both], self.instance_centres)

    def _expressions(self, domain: Domain) -> tuple[Tensor, Tensor]:
        means = _word_means(domain.output.features["query"], domain.batch)
        right = _word_means(domain.output.features["embeddings"], domain.batch)
        return self._preserved(means, self.word_prototypes, right, self.word_centres)

    def _preserved(self, own: Tensor, prototypes: Tensor, fixed: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
        """KL(q ‖ p) and the information of p, of all processes; those of validation are not shared equally."""
        if self.training:
            own, fixed = all_rows(own), all_rows(fixed)
        temperature = self.config.temperature
        right = assignments(fixed.detach(), centres, temperature)
        # Fewer samples than concepts have fewer centres.
        found = assignments(own, prototypes[: len(centres)], temperature)
        return preservation(right, found), information(found)

    def _centres(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "k d"]:
        """Of unit vectors, themselves of unit length."""
        try:
            from sklearn.cluster import KMeans
        except ImportError:
            raise ModelError("Concepts need scikit-learn; install it by: pip install 'deixis[sda]'.") from None
        directions = F.normalize(rows, dim=-1).double().numpy()
        if len(directions) > self.config.most:
            draw = np.random.default_rng(self.config.seed)
            directions = directions[np.sort(draw.choice(len(directions), self.config.most, replace=False))]
        count = min(self.config.concepts, len(np.unique(directions, axis=0)))
        centres = KMeans(count, random_state=self.config.seed, n_init=1).fit(directions).cluster_centers_
        return F.normalize(torch.as_tensor(centres, dtype=torch.float32), dim=-1)


def foreground_means(
    visual: Float[Tensor, "b d y x"], batch: Batch, output: Output, high: float
) -> tuple[Float[Tensor, "b d"], Bool[Tensor, " b"]]:
    """The mean over each expression's foreground, and whether it has any; without, the mean is 0.

    The foreground is the mask's, and without masks where the output's own probability exceeds `high`.
    """
    size = visual.shape[2], visual.shape[3]
    if batch.masks is not None:
        is_foreground = losses.cell_masks(batch.masks, size)
    else:
        probabilities = output.logits.detach().sigmoid()[:, None]
        is_foreground = F.interpolate(probabilities, size=size, mode="area")[:, 0] > high
    chosen = rearrange(is_foreground, "b y x -> b (y x)") & photo_cells(batch, size)
    cells = rearrange(visual, "b d y x -> b (y x) d")
    summed = einsum(cells, chosen.to(cells.dtype), "b n d, b n -> b d")
    return summed / chosen.sum(1, keepdim=True).clamp(min=1), chosen.any(dim=1)


def assignments(rows: Float[Tensor, "n d"], centres: Float[Tensor, "k d"], temperature: float) -> Float[Tensor, "n k"]:
    """The softmax of cosines divided by the temperature."""
    return (F.normalize(rows, dim=-1) @ F.normalize(centres, dim=-1).mT / temperature).softmax(dim=-1)


def preservation(right: Float[Tensor, "n k"], found: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """KL(right ‖ found), the mean over the rows; 0 without rows."""
    if not len(found):
        return found.sum() * 0.0
    return (torch.xlogy(right, right) - right * _log(found)).sum(1).mean()


def information(found: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """The entropy of the mean assignment minus the mean entropy, in nats; 0 without rows."""
    if not len(found):
        return found.sum() * 0.0
    mean = found.mean(0)
    return (found * _log(found)).sum(1).mean() - (mean * _log(mean)).sum()


def _summed(domains: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The sums of both values over the domains."""
    (first, second), (other_first, other_second) = domains
    return first + other_first, second + other_second


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()


def _word_means(features: Float[Tensor, "b _ d"], batch: Batch) -> Float[Tensor, "b d"]:
    """The mean over each expression's real words; `features` may be padded further than the batch."""
    mask = batch.token_mask
    summed = (features[:, : mask.shape[1]] * mask[..., None]).sum(1)
    return summed / mask.sum(1, keepdim=True).clamp(min=1)
