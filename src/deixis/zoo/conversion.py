"""Published checkpoints to ours: a file converted by hand, or one downloaded by name and cached."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from .. import hub
from ..checkpoints import native
from ..checkpoints.configs import from_dict, to_dict
from ..checkpoints.official.published import LICENCES, PUBLISHED, Published, published_with, sha256_of
from ..checkpoints.official.reading import LAYOUTS, OfficialCheckpoint, read_official
from ..errors import InputError
from ..text.tokenizer import Tokenizer
from .systems import SYSTEMS

UNKNOWN_DATA = " Its training data are not stated: they may contain images of any test split."


def convert(file: Path, out: Path, vocabulary: Path | None = None, *, download: bool = False) -> None:
    """Write the published `.pth` as the checkpoint `out`; BERT's vocabulary is downloaded only with `download`."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give the name of a folder.")
    if (out / native.WEIGHTS).exists():
        raise InputError(f"{out} already holds a checkpoint; choose another folder.")
    official = read_official(file)
    tokenizer = Tokenizer.bert_base(vocabulary, download=download)
    digest = sha256_of(file)
    _write(official, out, tokenizer, file.name, digest, published_with(digest))


def kept(name: str) -> Path:
    """The folder of the converted copy of a published checkpoint, which may not exist yet."""
    return cache_folder() / "checkpoints" / name


def cache_folder() -> Path:
    """`DEIXIS_CACHE`, else the folder `deixis` in `XDG_CACHE_HOME` or `~/.cache`."""
    if own := os.environ.get("DEIXIS_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "deixis"


def obtain(name: str, vocabulary: Path | None = None) -> Path:
    """The converted copy of a published checkpoint; the first call downloads, checks and converts it.

    It appears whole or not at all, also when several processes call this at once.
    """
    entry, place = PUBLISHED[name], kept(name)
    if (place / native.WEIGHTS).exists():
        return place
    tokenizer = Tokenizer.bert_base(vocabulary, download=True)  # small, so that a failure comes early
    file = fetch(entry)
    digest = sha256_of(file)
    if entry.sha256 not in (None, digest):
        raise InputError(
            f"{file} has the sha256 {digest}, but {entry.sha256} was published; remove it and download it again."
        )
    official = read_official(file)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{name}-", dir=place.parent) as beside:
            made = Path(beside) / name
            _write(official, made, tokenizer, entry.file, digest, entry)
            put(made, place)
    except OSError as error:
        raise InputError(
            f"{place} cannot be written ({error.strerror or error}); set DEIXIS_CACHE to a folder that can."
        ) from error
    return place


def fetch(entry: Published) -> Path:
    """The published file in the hub's cache, downloaded if it is not there."""
    by_hand = f"get it from {entry.page} by hand and run `deixis checkpoint convert {entry.file} OUT`"
    return hub.download(entry.repository, entry.file, entry.revision, instead=f"try again, or {by_hand}")


def put(made: Path, place: Path) -> None:
    """Rename the whole folder; if another process was faster, its copy stays."""
    try:
        made.rename(place)
    except OSError:
        if not (place / native.WEIGHTS).exists():
            raise


def _write(
    official: OfficialCheckpoint, out: Path, tokenizer: Tokenizer, file: str, digest: str, entry: Published | None
) -> None:
    """Save the checkpoint with its card; `entry` is the file's row in the table of published checkpoints."""
    config: Any = from_dict(SYSTEMS[official.system], official.config, f"The config of {file}")
    if len(tokenizer) != config.vocabulary_size:
        raise InputError(
            f"The vocabulary has {len(tokenizer)} words, but {file} was trained with {config.vocabulary_size}; "
            "give the vocab.txt of that training."
        )
    layout = LAYOUTS[official.system]
    card = native.Card(
        system=official.system,
        config=to_dict(config),
        preprocess=layout.preprocess,
        mask_rule=layout.mask_rule,
        description=_description(official, file, entry),
        licence=LICENCES[official.system],
        scores=_scores(entry, layout.protocol),
        origin=_origin(file, digest, entry, layout.protocol),
    )
    weights = _fitting(official, config, file)
    try:
        native.save(out, weights, card, tokenizer.vocabulary)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error}); choose another folder.") from error


def _fitting(official: OfficialCheckpoint, config: Any, file: str) -> dict[str, Tensor]:
    """Every weight of the system. Raises `InputError` if one is missing or has another shape."""
    system = config.build()
    counters = {name: count for name, count in system.state_dict().items() if name.endswith("num_batches_tracked")}
    weights = {**counters, **official.state_dict}  # old files lack the counters, which no prediction depends on
    native.fill(system, weights, file)
    return weights


def _description(official: OfficialCheckpoint, file: str, entry: Published | None) -> str:
    vision, text = official.config["vision"], official.config["text"]
    if "depths" in vision:
        image = f"Swin of {'-'.join(map(str, vision['depths']))} blocks"
    else:
        image = f"ViT of {vision['layers']} layers"
    size = f"{image}, BERT of {text['layers']} layers"
    unknown = UNKNOWN_DATA if entry is not None and entry.dataset is None else ""
    return f"{LAYOUTS[official.system].title} ({size}), converted from {file}.{unknown}"


def _scores(entry: Published | None, protocol: str) -> dict[str, Any]:
    """The authors' own scores, apart from those measured with deixis."""
    if entry is None or not entry.scores:
        return {}
    return {f"published, {protocol}": {f"{entry.dataset}:{at}": {"oIoU": oiou} for at, oiou in entry.scores.items()}}


def _origin(file: str, digest: str, entry: Published | None, protocol: str) -> dict[str, str]:
    """The origin of the weights, for the card."""
    origin = {"file": file, "sha256": digest, "protocol": protocol}
    if entry is None:
        return {**origin, "hash": "recorded when converted, not known beforehand"}
    return {
        **origin,
        "hash": "known beforehand" if entry.sha256 else "recorded at first download, not known beforehand",
        "published as": f"{entry.page}/blob/{entry.revision}/{entry.file}",
        "dataset": entry.dataset or "not stated",
        "split by": entry.split_by or "not stated",
    }
