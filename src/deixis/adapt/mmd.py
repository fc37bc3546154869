"""MMD: the maximum mean discrepancy of pixels and of words between two domains (Long et al., ICML 2015).

As SDA's Appendix C.3 compares it: the source's own loss, and the discrepancy of the last map of the vision encoder and
of the query features. Weights and schedule are ours, because no source prints them.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from .. import losses
from ..errors import InputError
from ..layers.domains import Domain, PairObjective
from ..records import Config


@dataclass(frozen=True, kw_only=True)
class MMDConfig(Config):
    """`num_steps` is the length of the training, over which the weight grows; None takes the Run's.

    At most `most` cells and words of a domain are compared, drawn anew in every step.
    """

    num_steps: int | None = None
    weight: float = 0.1
    most: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [each for each in (self.num_steps, self.most) if each is not None]
        if min(counts) < 1 or not self.weight >= 0:
            raise InputError(
                f"MMD's num_steps are {self.num_steps}, its most {self.most} and its weight {self.weight}; expected "
                "positive numbers and a weight of 0 or more."
            )

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "MMD":
        return MMD(system, self)


class MMD(PairObjective):
    """The terms of the system's own loss on the source, and `pixels` and `words`, discrepancies of the two domains."""

    def alignment(self, source: Domain, target: Domain, step: int) -> dict[str, Tensor]:
        weight = self.config.weight * self.ramp(step)
        pixels, words = (
            losses.mmd(self.some(own, step), self.some(other, step))
            for own, other in ((source.cells(), target.cells()), (source.words(), target.words()))
        )
        return {"pixels": weight * pixels, "words": weight * words}
