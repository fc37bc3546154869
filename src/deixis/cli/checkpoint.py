"""`deixis checkpoint`: look at a checkpoint's card; download the papers' published files, and convert them once."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, did_you_mean
from . import calibrate
from .parsing import Parser

if TYPE_CHECKING:
    from ..metrics.calibration import Calibration

USAGE = """\
usage: deixis checkpoint show NAME|PATH [--json]
       deixis checkpoint download NAME [--vocabulary vocab.txt]
       deixis checkpoint convert FILE.pth OUT [--vocabulary vocab.txt] [--download]
       deixis checkpoint calibrate MODEL --data DATA [OPTIONS]

show       what a model is: its system, size, input, licence, origin, scores
download   fetch a published checkpoint and convert it; from then on --model NAME needs no network:
           {names}
convert    a published checkpoint (LAVT's or MagNet's .pth) to the folder OUT, which --model then takes; BERT's
           vocabulary is looked for in the hub's cache, or fetched with --download, unless its vocab.txt is given
calibrate  make a presence head's chances true: two numbers, fitted on a split, written into the card"""


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
    parser = Parser(prog="deixis checkpoint show", allow_abbrev=False)
    parser.add_argument("model", metavar="NAME|PATH")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)

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
        "reads": f"{side}x{side} pixels, at most {card.preprocess.max_tokens} words or word pieces",
        "vocabulary": f"{len(checkpoint.vocabulary):,} words and word pieces",
        "score is": card.score_means,
        **({} if card.calibration is None else {"calibration": _described(card.calibration)}),
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


def _flat(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in scores.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", f"{value:.4f}" if isinstance(value, float) else str(value)


def _convert(arguments: list[str]) -> int:
    parser = Parser(prog="deixis checkpoint convert", allow_abbrev=False)
    parser.add_argument("file", type=Path, metavar="FILE.pth")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--vocabulary", type=Path, metavar="vocab.txt")
    parser.add_argument("--download", action="store_true")
    options = parser.parse_args(arguments)

    from ..zoo.conversion import convert

    convert(options.file, options.out, options.vocabulary, download=options.download)
    print(f'{options.out} is ready: deixis segment photo.jpg "the red cup" --model {options.out}')
    return 0


def _download(arguments: list[str]) -> int:
    parser = Parser(prog="deixis checkpoint download", allow_abbrev=False)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--vocabulary", type=Path, metavar="vocab.txt")
    options = parser.parse_args(arguments)

    from ..checkpoints.official.published import LICENCES, PUBLISHED, published_name

    name = published_name(options.name)
    if name is None:
        raise InputError(f"There is no published checkpoint {options.name!r}. {did_you_mean(options.name, PUBLISHED)}")

    from ..zoo.conversion import obtain

    place = obtain(name, options.vocabulary)
    print(f"{place} is ready ({LICENCES[PUBLISHED[name].system]}):")
    print(f'deixis segment photo.jpg "the red cup" --model {name}')
    return 0
