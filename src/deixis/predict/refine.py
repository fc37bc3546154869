"""DenseCRF (Krähenbühl & Koltun, NIPS 2011): move a mask's outline to the edges of the photo, for every system.

- unary terms from probabilities, of masks those of background and referent; pairwise terms from positions and colours
- mean field by the reference implementation, `pydensecrf2`, which only this file imports
- no paper of the compared systems gives parameters: the defaults are those of referring segmentation in CMPC-Refseg
"""

from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from ..errors import InputError, did_you_mean
from ..records import MaskRule

NAME = "crf"
CLIP = 1e-5  # probabilities stay this far from 0 and 1: a min-max map holds both
MOST_ITERATIONS = 1000
REFERENCE_SIDE = 320  # pixels on the longer side, for which `scaled` widths are given


@dataclass(frozen=True, kw_only=True)
class DenseCRF:
    """The parameters of the mean field: widths of its two kernels (`sxy` in pixels, `srgb` in grey levels) and weights.

    `scaled` multiplies the widths in pixels by (longer side) / 320, so that small and large photos are treated alike.
    """

    gaussian_sxy: float = 3.0
    gaussian_compat: float = 3.0
    bilateral_sxy: float = 20.0
    bilateral_srgb: float = 3.0
    bilateral_compat: float = 10.0
    iterations: int = 5
    scaled: bool = False

    def __post_init__(self) -> None:
        for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb"):
            if not 0 < (value := getattr(self, name)) < float("inf"):
                raise InputError(f"The CRF's {name} is {value}; expected a positive number.")
        for name in ("gaussian_compat", "bilateral_compat"):
            if not 0 <= (value := getattr(self, name)) < float("inf"):
                raise InputError(f"The CRF's {name} is {value}; expected a number of 0 or more.")
        if not 0 <= self.iterations <= MOST_ITERATIONS:
            raise InputError(f"The CRF has {self.iterations} iterations; expected 0 to {MOST_ITERATIONS}.")

    def refine(
        self, photo: UInt8[np.ndarray, "h w 3"], values: Float32[np.ndarray, "h w"], rule: MaskRule
    ) -> tuple[Float32[np.ndarray, "h w"], MaskRule]:
        """The refined probability map, and the rule for it: the more probable of the two labels.

        `values` are at the photo's size and `rule` is the one that they are made for. With 0 iterations the mask is
        that of `rule`, except for pixels that equal its threshold. Where `rule` says that a map is empty because it is
        constant, it stays empty.
        """
        return self.probability(photo, centred(values, rule)), MaskRule()

    def probability(
        self, photo: UInt8[np.ndarray, "h w 3"], soft: Float[np.ndarray, "h w"]
    ) -> Float32[np.ndarray, "h w"]:
        """The referent's probability after the mean field, from one whose threshold is 0.5."""
        return self.probabilities(photo, np.stack([1 - soft, soft]))[1]

    def probabilities(
        self, photo: UInt8[np.ndarray, "h w 3"], soft: Float[np.ndarray, "k h w"]
    ) -> Float32[np.ndarray, "k h w"]:
        """Each label's probability after the mean field, from those before it."""
        check_installed()
        from pydensecrf.densecrf import DenseCRF2D

        count, height, width = soft.shape
        unary = -np.log(np.clip(soft, CLIP, 1 - CLIP).reshape(count, -1))
        widen = max(height, width) / REFERENCE_SIDE if self.scaled else 1.0
        field = DenseCRF2D(width, height, count)
        field.setUnaryEnergy(np.ascontiguousarray(unary, np.float32))
        if self.gaussian_compat:
            field.addPairwiseGaussian(sxy=self.gaussian_sxy * widen, compat=self.gaussian_compat)
        if self.bilateral_compat:
            field.addPairwiseBilateral(
                sxy=self.bilateral_sxy * widen,
                srgb=self.bilateral_srgb,
                rgbim=np.ascontiguousarray(photo),
                compat=self.bilateral_compat,
            )
        return np.array(field.inference(self.iterations), np.float32).reshape(count, height, width)


def refinement(text: str | DenseCRF | None) -> DenseCRF | None:
    """`crf`, or `crf:iterations=10,bilateral_sxy=80`, as its parameters; None where nothing refines the masks.

    Raises `InputError` for another name or parameter, and where the package is not installed.
    """
    if text is None:
        return None
    check_installed()
    if isinstance(text, DenseCRF):
        return text
    name, _, parameters = text.partition(":")
    if name != NAME:
        raise InputError(f"There is no refinement {name!r}. {did_you_mean(name, [NAME])}")
    given: dict[str, Any] = dict(_parameter(each) for each in parameters.split(",") if each)
    return DenseCRF(**given)


def check_installed() -> None:
    """Raises `InputError` with what to install."""
    if find_spec("pydensecrf") is None:
        raise InputError(
            "The refinement 'crf' needs pydensecrf2, which is not installed; install it: pip install 'deixis[crf]'."
        )


def centred(values: Float32[np.ndarray, "h w"], rule: MaskRule) -> Float[np.ndarray, "h w"]:
    """The map as a probability of the referent whose threshold is 0.5: its logit is shifted by that of `rule`."""
    low, high = float(values.min()), float(values.max())
    soft, threshold = values.astype(np.float64), rule.threshold
    if rule.kind == "min-max":
        soft = (soft - low) / (high - low) if high > low else np.zeros_like(soft)
    elif rule.kind == "half-maximum":
        soft, threshold = (soft / high if high > 0 else np.zeros_like(soft)), 0.5
    odds = soft * (1 - threshold)
    return odds / (odds + (1 - soft) * threshold)


def resized(values: Float32[np.ndarray, "h w"], to: tuple[int, int] | None) -> Float32[np.ndarray, "height width"]:
    """A refined map at the size that masks are compared at, bilinearly; None keeps its own size."""
    if to is None:
        return values
    return np.array(Image.fromarray(values).resize((to[1], to[0]), Image.Resampling.BILINEAR))


def _parameter(text: str) -> tuple[str, float | int | bool]:
    kinds: dict[str, Any] = {each.name: type(each.default) for each in fields(DenseCRF)}
    name, _, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if name not in kinds:
        raise InputError(f"The refinement 'crf' has no parameter {name!r}. {did_you_mean(name, kinds)}")
    try:
        return name, value.strip().lower() in {"true", "1"} if kinds[name] is bool else kinds[name](value)
    except ValueError:
        raise InputError(f"The CRF's {name} is {value!r}; expected a number.") from None
