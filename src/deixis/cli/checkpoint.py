"""`deixis checkpoint`: show a checkpoint's card, download and convert published files, calibrate a presence head."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..errors import InputError, did_you_mean
from . import calibrate
from .options import parse

if TYPE_CHECKING:
    from ..metrics.calibration import Calibration
    from ..records import PresenceRule

USAGE = """\
usage: deixis checkpoint show NAME|PATH [--json]
       deixis checkpoint download NAME [--vocabulary vocab.txt]
       deixis checkpoint convert FILE.pth OUT [--vocabulary vocab.txt] [--download]
       deixis checkpoint calibrate MODEL --data DATA [OPTIONS]

show       print what a model is: its system, size, input, licence, origin, scores
download   download a published checkpoint and convert it; afterwards --model NAME needs no network:
           {names}
convert    convert a published checkpoint (the .pth of LAVT, MagNet or SaG) to the folder OUT, for --model; BERT's
           vocabulary is taken from --vocabulary, from the hub's cache, or downloaded with --download
calibrate  fit a presence head's probabilities on a split: two numbers, written into the card"""

MASK_RULES = {
    "probability": "pixels with a probability above {}",
    "min-max": "pixels of at least {} after scaling the map to 0 to 1",
    "half-maximum": "pixels above half the map's maximum",
}


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Print what a model is: its system, size, input, licence, origin, scores."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|PATH")]
    """A model's name, or the folder of a checkpoint or of a run."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Convert a published checkpoint to our format."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.pth")]
    """The published file, or a folder of CLIP or GroupViT in transformers' format."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The folder to write."""
    vocabulary: Annotated[Path | None, tyro.conf.arg(metavar="vocab.txt")] = None
    """BERT's vocabulary; by default the one in the hub's cache."""
    download: bool = False
    """Download BERT's vocabulary where it is not in the cache."""


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """Download a published checkpoint and convert it to our format."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """The checkpoint's name."""
    vocabulary: Annotated[Path | None, tyro.conf.arg(metavar="vocab.txt")] = None
    """BERT's vocabulary; by default it is downloaded."""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        from ..checkpoints.official.published import PUBLISHED

        print(USAGE.format(names=", ".join(PUBLISHED)))
        return 0
    verbs = {"show": _show, "download": _download, "convert": _convert, "calibrate": calibrate.main}
    if arguments[0] not in verbs:
        raise InputError(f"There is no command 'checkpoint {arguments[0]}'. {did_you_mean(arguments[0], verbs)}")
    return verbs[arguments[0]](arguments[1:])


def _show(arguments: list[str]) -> int:
    options = parse(ShowOptions, arguments, "deixis checkpoint show")

    from ..checkpoints import native
    from ..checkpoints.configs import to_dict
    from ..zoo.loading import find

    checkpoint = native.read(find(options.model))
    card, parameters = checkpoint.card, sum(tensor.numel() for tensor in checkpoint.weights.values())
    if options.json:
        print(json.dumps({**to_dict(card), "parameters": parameters, "vocabulary": len(checkpoint.vocabulary)}))
        return 0
    side = card.preprocess.image_size
    lines = {
        "system": card.system,
        "description": card.description or "none given",
        "licence": card.licence,
        **{f"origin {name}": value for name, value in card.origin.items()},
        "parameters": f"{parameters:,}",
        "reads": f"{side}x{side} pixels ({card.preprocess.fit}), at most {card.preprocess.max_tokens} tokens",
        "vocabulary": f"{len(checkpoint.vocabulary):,} tokens",
        "mask": MASK_RULES[card.mask_rule.kind].format(card.mask_rule.threshold),
        "score is": card.score_means,
        **({} if card.calibration is None else {"calibration": _described(card.calibration)}),
        **({"present": _threshold(card.presence_rule)} if card.config.get("presence") else {}),
        **{f"score {name}": value for name, value in _flat(card.scores)},
    }
    width = max(map(len, lines))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in lines.items()))
    return 0


def _described(calibration: "Calibration") -> str:
    return (
        f"scale {calibration.scale:.3f}, bias {calibration.bias:+.3f} from {calibration.expressions:,} expressions of "
        f"{calibration.data}; error {calibration.ece_before:.3f} before, {calibration.ece_after:.3f} after"
    )


def _threshold(rule: "PresenceRule") -> str:
    chosen = f", chosen on {rule.chosen_on}" if rule.chosen_on else ""
    return f"where the head's probability is above {rule.threshold:.3f}{chosen}"


def _flat(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in scores.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", f"{value:.4f}" if isinstance(value, float) else str(value)


def _convert(arguments: list[str]) -> int:
    options = parse(ConvertOptions, arguments, "deixis checkpoint convert")

    from ..zoo.conversion import convert
    from ..zoo.hub_models import convert_folder

    if options.file.is_dir():
        convert_folder(options.file, options.out)
    else:
        convert(options.file, options.out, options.vocabulary, download=options.download)
    print(f'{options.out} is ready: deixis segment photo.jpg "the red cup" --model {options.out}')
    return 0


def _download(arguments: list[str]) -> int:
    options = parse(DownloadOptions, arguments, "deixis checkpoint download")

    from ..checkpoints.official.published import LICENCES, PUBLISHED, published_name
    from ..zoo.hub_models import HUB_MODELS
    from ..zoo.hub_models import find as find_on_hub

    if options.name in HUB_MODELS:
        print(f"fetching {HUB_MODELS[options.name].notice}")
        print(f"{find_on_hub(options.name, download=True)} is ready ({HUB_MODELS[options.name].licence})")
        return 0
    name = published_name(options.name)
    if name is None:
        known = [*PUBLISHED, *HUB_MODELS]
        raise InputError(f"There is no published checkpoint {options.name!r}. {did_you_mean(options.name, known)}")

    from ..zoo.conversion import obtain

    place = obtain(name, options.vocabulary)
    print(f"{place} is ready ({LICENCES[PUBLISHED[name].system]}):")
    print(f'deixis segment photo.jpg "the red cup" --model {name}')
    return 0
