"""`deixis checkpoint`: look at a checkpoint's card, and convert the papers' published files once."""

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..errors import DeixisError, did_you_mean

USAGE = """\
usage: deixis checkpoint show NAME|PATH [--json]
       deixis checkpoint convert FILE.pth OUT [--vocabulary vocab.txt] [--download]

show     what a model is: its system, size, input, licence, scores
convert  a published checkpoint (LAVT's .pth) to the folder OUT, which --model then takes; BERT's vocabulary is
         looked for in the hub's cache, or fetched with --download, unless its vocab.txt is given"""

LICENCES = {"lavt": "GPL-3.0, as its authors state"}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    verbs = {"show": _show, "convert": _convert}
    if arguments[0] not in verbs:
        raise DeixisError(f"There is no command 'checkpoint {arguments[0]}'. {did_you_mean(arguments[0], verbs)}")
    return verbs[arguments[0]](arguments[1:])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise DeixisError(f"{message[:1].upper()}{message[1:]}; `deixis checkpoint --help` shows what is understood.")


def _show(arguments: list[str]) -> int:
    parser = _Parser(prog="deixis checkpoint show", allow_abbrev=False)
    parser.add_argument("model", metavar="NAME|PATH")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)

    from ..checkpoints import native
    from ..checkpoints.configs import to_dict
    from ..recipes.loading import find

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
        "parameters": f"{parameters:,}",
        "reads": f"{side}x{side} pixels, at most {card.preprocess.max_words} words or word pieces",
        "vocabulary": f"{len(checkpoint.vocabulary):,} words and word pieces",
        **{f"score {name}": value for name, value in _flat(card.scores)},
    }
    width = max(map(len, lines))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in lines.items()))
    return 0


def _flat(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in scores.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", f"{value:.4f}" if isinstance(value, float) else str(value)


def _convert(arguments: list[str]) -> int:
    parser = _Parser(prog="deixis checkpoint convert", allow_abbrev=False)
    parser.add_argument("file", type=Path, metavar="FILE.pth")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--vocabulary", type=Path, metavar="vocab.txt")
    parser.add_argument("--download", action="store_true")
    options = parser.parse_args(arguments)

    from ..checkpoints import native
    from ..checkpoints.configs import from_dict, to_dict
    from ..checkpoints.official import read_official
    from ..data.transforms import Preprocess
    from ..recipes.systems import SYSTEMS, build
    from ..text.tokenizer import Tokenizer

    if (options.out / native.WEIGHTS).exists():
        raise DeixisError(f"{options.out} already holds a checkpoint; choose another folder.")
    official = read_official(options.file)
    tokenizer = Tokenizer.bert_base(options.vocabulary, download=options.download)
    config = from_dict(SYSTEMS[official.system][0], official.config, f"The config of {options.file}")
    if len(tokenizer) != config.text.vocabulary:
        raise DeixisError(
            f"The vocabulary has {len(tokenizer)} words, but {options.file} was trained with {config.text.vocabulary}; "
            "give the vocab.txt that belongs to it."
        )
    system = build(official.system, config)
    counters = {name: count for name, count in system.state_dict().items() if name.endswith("num_batches_tracked")}
    weights = {**counters, **official.state_dict}  # old files lack the counters, which no answer depends on
    native.fill(system, weights, f"{options.file}")
    card = native.Card(
        system=official.system,
        config=to_dict(config),
        preprocess=Preprocess(),  # every published system reads 480x480 pixels and 20 words
        description=f"Converted from {options.file.name}, sha256 {_sha256(options.file)}.",
        licence=LICENCES[official.system],
    )
    native.save(options.out, weights, card, tokenizer.vocabulary)
    print(f'{options.out} is ready: deixis segment photo.jpg "the red cup" --model {options.out}')
    return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
