"""The models inside the package: where they are, what they were trained on, and which of them the default asks."""

from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.card import WEIGHTS

PACKAGE = Path(__file__).parents[1]
AUTO = "auto"  # the name of the default: the model whose domain the image is in
OLD_NAMES = {"embedded": "bundled"}
ADVICE = (
    "No bundled model answers on such images. Try `deixis checkpoint download magnet-refcoco` once (1.2 GB), then "
    "choose the model magnet-refcoco; --model bundled and --model photos ask those of drawings and of photographs all "
    "the same."
)


@dataclass(frozen=True, kw_only=True)
class BundledModel:
    """A checkpoint's folder in the package and the kind of images it answers on.

    Where it `is_default`, the default asks it about images of its domain. `note` is on every answer of it.
    """

    folder: Path
    domain: str
    is_default: bool = True
    note: str = ""

    @property
    def exists(self) -> bool:
        return (self.folder / WEIGHTS).exists()


# In the order in which the default asks them.
BUNDLED_MODELS: dict[str, BundledModel] = {
    "bundled": BundledModel(folder=PACKAGE / "bundled", domain="drawings"),
    "photos": BundledModel(
        folder=PACKAGE / "photos",
        domain="photographs",
        note="Experimental: common objects and people, about 4 of 10 right. With a network, `deixis checkpoint "
        "download magnet-refcoco` (1.2 GB) gets a better model.",
    ),
}


def bundled_named(name: str) -> BundledModel | None:
    """The model of that name, or for `auto` the first one; None for any other name."""
    if name == AUTO:
        name = next(iter(defaults()), next(iter(BUNDLED_MODELS)))
    return BUNDLED_MODELS.get(OLD_NAMES.get(name, name))


def defaults() -> dict[str, BundledModel]:
    """The models that the default asks, of those that this copy of the package has."""
    return {name: model for name, model in BUNDLED_MODELS.items() if model.is_default and model.exists}
