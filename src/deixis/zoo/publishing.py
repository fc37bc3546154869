"""Publish a model on the Hugging Face hub, with a model card; nothing is uploaded unless `push_to_hub` is called."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .. import hub
from ..checkpoints.card import CARD, VOCABULARY, WEIGHTS, Card, parse_card, read_text
from ..errors import InputError
from ..metrics.protocols import PROTOCOLS
from ..predict.exported import EXPORT, is_export, read_export
from .loading import REPOSITORY, find

README = "README.md"


def push_to_hub(model: str | Path, repository: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload a checkpoint or an export and its model card to `owner/name`; returns the address of its page.

    `model` is what `deixis.load` takes. A missing repository is created, and is `private` by default. Without `token`
    the hub's own login is used. Raises `InputError` for a name that is not one of a repository, and `ModelError` with
    the hub's reason.
    """
    if not REPOSITORY.fullmatch(repository):
        raise InputError(f"{repository!r} is not the name of a repository; expected owner/name.")
    place = find(model)
    if not place.is_dir():
        raise InputError(f"{place} is a file of weights; give the folder of its checkpoint.")
    with TemporaryDirectory() as folder:
        for name in _files(place):
            shutil.copy(place / name, folder)
        (Path(folder) / README).write_text(model_card(place, repository), encoding="utf-8")
        return hub.push(Path(folder), repository, ["*"], private=private, token=token)


def model_card(place: Path, repository: str) -> str:
    """The page of a model as Markdown: use, data, protocols, scores, licence and limits, all from its card."""
    card = parse_card(read_text(place / CARD), f"The card of {place}")
    scores = list(_rows(card.scores))
    parts = [
        _header(card),
        f"# {repository.partition('/')[2]}\n\n{card.description or f'A {card.system} for referring segmentation.'}",
        _use(place, card, repository),
        f"## Training data\n\n{_data(card)}",
        f"## Scores\n\n{_table(scores) if scores else 'None are recorded in the card.'}",
        f"## Limits\n\n{_limits(card)}",
        f"## Licence\n\n{card.licence}",
    ]
    return "\n\n".join(parts) + "\n"


def _files(place: Path) -> list[str]:
    """Those of the checkpoint or of the export alone, whatever else the folder holds."""
    if not is_export(place):
        return [WEIGHTS, CARD, VOCABULARY]
    facts, _ = read_export(place)
    stems = tuple(Path(file).stem + "." for file in facts.files)  # weights that are beside an ONNX or an XML file
    networks = [each.name for each in sorted(place.iterdir()) if each.name.startswith(stems)]
    return [EXPORT, CARD, VOCABULARY, *networks]


def _header(card: Card) -> str:
    known = card.licence if card.licence.lower() == "apache-2.0" else "other"
    facts = {"license": known.lower(), "library_name": "deixis", "pipeline_tag": "image-segmentation"}
    lines = [f"{name}: {value}" for name, value in facts.items()]
    return "\n".join(["---", *lines, "tags:", "- referring-segmentation", f"- {card.system.replace(':', '-')}", "---"])


def _use(place: Path, card: Card, repository: str) -> str:
    side, preprocess = card.preprocess.image_size, card.preprocess
    extra = "" if not is_export(place) else f"[{read_export(place)[0].kind}]"
    return f"""```bash
pip install 'deixis{extra}'
deixis segment photo.jpg "the red cup" --model {repository} --download
```

It reads {side}x{side} pixels ({preprocess.fit}) and at most {preprocess.max_tokens} tokens. A prediction's score is
{card.score_means}."""


def _data(card: Card) -> str:
    data = card.run.get("data")
    lines = [f"- {name}: {value}" for name, value in card.origin.items()]
    if isinstance(data, Mapping):
        lines += [f"- {name}: {json.dumps(value)}" for name, value in data.items() if value not in (None, [], "")]
    return "\n".join(lines) or "Not recorded in the card."


def _limits(card: Card) -> str:
    lines = [f"- It was trained on {card.domain}; answers on other images are guesses."] if card.domain else []
    if card.mask_rule.chosen_on:
        lines.append(f"- The threshold {card.mask_rule.threshold} was chosen on labels of {card.mask_rule.chosen_on}.")
    if not card.config.get("presence"):
        lines.append("- It has no presence head: it also marks pixels where the referent is not in the image.")
    elif card.calibration is None:
        lines.append("- The probabilities of its presence head are not calibrated.")
    if card.presence_rule.chosen_on:
        rule = card.presence_rule
        lines.append(f"- The presence threshold {rule.threshold:.3f} was chosen on {rule.chosen_on}.")
    return "\n".join([*lines, "- Longer expressions are cut, and words outside of its vocabulary are not understood."])


def _rows(scores: Mapping[str, Any], names: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """The names of a score, its value and its interval."""
    for name, value in scores.items():
        path = (*names, name)
        if isinstance(value, Mapping) and isinstance(value.get("value"), int | float):
            span = [value.get(end) for end in ("low", "high")]
            interval = "" if None in span else f"{span[0]:.2f} … {span[1]:.2f}"
            yield " ".join(path), f"{value['value']:.2f}", interval
        elif isinstance(value, Mapping):
            yield from _rows(value, path)
        else:
            yield " ".join(path), f"{value:.2f}" if isinstance(value, float) else str(value), ""


def _table(scores: list[tuple[str, str, str]]) -> str:
    head = ["| protocol, data, measure | value | 95% interval |", "|---|---|---|"]
    rows = [f"| {name} | {value} | {interval} |" for name, value, interval in scores]
    used = [name for name in PROTOCOLS if any(score[0].startswith(f"{name} ") for score in scores)]
    note = f"\n\nThe protocols ({', '.join(used)}) are defined in deixis's documentation of evaluation." if used else ""
    return "\n".join([*head, *rows]) + note
