"""The compared methods' checkpoints on the Hugging Face hub: what they are, and their conversion to our format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from .. import hub
from ..checkpoints import native
from ..checkpoints.configs import to_dict
from ..data.transforms import Preprocess
from ..errors import InputError, ModelError
from ..models.groupvit import DUMMY, GroupViTConfig
from ..models.maskclip import MaskCLIPConfig
from ..records import Config, MaskRule
from ..text.clip_tokenizer import PHOTO, PLAIN, ClipTokenizer
from ..weights import check_finite, read_file, tensors_in
from .conversion import kept, put
from .systems import name_of

SETTINGS, VOCABULARY, MERGES = "config.json", "vocab.json", "merges.txt"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that there is
KINDS = ("clip", "groupvit")
LONGEST = 77  # tokens of CLIP's sentences
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A repository in transformers' format, its size, and the options of our config that differ from the default."""

    kind: str  # `model_type` in its config.json
    repository: str
    megabytes: int  # of the parameters in float32, by their count
    licence: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def notice(self) -> str:
        """What a download fetches, and from whom."""
        return f"{self.repository} from https://huggingface.co/{self.repository}, some {self.megabytes} MB"


def _groupvit(repository: str, **options: Any) -> HubModel:
    return HubModel(
        kind="groupvit",
        repository=repository,
        megabytes=223,
        licence="none stated on the repository's page",
        options=options,
    )


def _maskclip(**options: Any) -> HubModel:
    return HubModel(
        kind="clip",
        repository="openai/clip-vit-base-patch16",
        megabytes=599,
        licence="none stated on the repository's page; OpenAI's code is MIT, its model card excludes deployed use",
        options=options,
    )


HUB_MODELS = {
    "groupvit": _groupvit("nvidia/groupvit-gcc-yfcc"),
    "groupvit-photo": _groupvit("nvidia/groupvit-gcc-yfcc", template=PHOTO),
    "groupvit-redcaps": _groupvit("nvidia/groupvit-gcc-redcaps"),
    "maskclip": _maskclip(),
    "maskclip-photo": _maskclip(template=PHOTO),
    "maskclip-as-published": _maskclip(as_published=True),
}


def find(name: str, *, download: bool = False) -> Path:
    """The converted copy of a model of the table, made from the hub's cache or, with `download`, from the hub."""
    entry, place = HUB_MODELS[name], kept(name)
    if (place / native.WEIGHTS).exists():
        return place
    files = _files(entry, name, download)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{name}-", dir=place.parent) as beside:
            made = Path(beside) / name
            _write(entry, files, made)
            put(made, place)
    except OSError as error:
        raise InputError(
            f"{place} cannot be written ({error.strerror or error}); set DEIXIS_CACHE to a folder that can."
        ) from error
    return place


def download_notice(name: str) -> str | None:
    """What loading the model by its name downloads, and from whom; None where it is on this machine."""
    entry = HUB_MODELS.get(name)
    if entry is None or Path(name).exists() or (kept(name) / native.WEIGHTS).exists():
        return None
    return f"fetching {entry.notice} (files that are in the hub's cache are used)"


def convert_folder(folder: Path, out: Path) -> None:
    """Write a folder in transformers' format (CLIP or GroupViT) as the checkpoint `out`."""
    if out.is_file() or (out / native.WEIGHTS).exists():
        raise InputError(f"{out} exists already; choose another folder.")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    files = [folder / name for name in (SETTINGS, VOCABULARY, MERGES)]
    if missing := [file.name for file in files if not file.is_file()] + ([] if weights else [" or ".join(WEIGHTS)]):
        raise InputError(f"The folder {folder} lacks {', '.join(missing)}; give a whole folder of CLIP or GroupViT.")
    assert weights is not None
    kind = _settings(files[0]).get("model_type")
    entry = HubModel(kind=str(kind), repository=folder.name, megabytes=0, licence="not stated")
    _write(entry, (*files, weights), out)


def _files(entry: HubModel, name: str, download: bool) -> tuple[Path, ...]:
    """Settings, vocabulary, merges and weights."""
    found = [hub.cached(entry.repository, file) for file in (SETTINGS, VOCABULARY, MERGES)]
    weights = [place for file in WEIGHTS if (place := hub.cached(entry.repository, file)) is not None]
    if all(found) and weights:
        return (*(file for file in found if file is not None), weights[0])
    if not download:
        raise InputError(
            f"The published model {name!r} is not on this machine, and nothing is downloaded without permission; allow "
            f"it once ({entry.notice}) with `deixis checkpoint download {name}`, --download or load(…, download=True)."
        )
    instead = f"try again with a network: it needs {entry.notice}"
    fetched = [hub.download(entry.repository, file, instead=instead) for file in (SETTINGS, VOCABULARY, MERGES)]
    try:
        return (*fetched, hub.download(entry.repository, WEIGHTS[0], instead=instead))
    except ModelError:  # older repositories have no such file
        return (*fetched, hub.download(entry.repository, WEIGHTS[1], instead=instead))


def _write(entry: HubModel, files: tuple[Path, ...], out: Path) -> None:
    settings, vocabulary, merges, weights = files
    tokenizer = ClipTokenizer.from_published(vocabulary, merges, entry.options.get("template", PLAIN))
    if entry.kind not in KINDS:
        raise InputError(f"{settings} is of the kind {entry.kind!r}; expected {' or '.join(KINDS)}.")
    config: Any = _config(entry.kind, _settings(settings), tokenizer, entry.options)
    if len(tokenizer) > config.vocabulary_size:
        raise InputError(
            f"{vocabulary} has {len(tokenizer)} tokens, but the model reads {config.vocabulary_size}; get both again."
        )
    stored = _named(weights, entry.kind)
    native.fill(config.build(), stored, str(weights))
    card = native.Card(
        system=name_of(config),
        config=to_dict(config),
        preprocess=_preprocess(config),
        mask_rule=MaskRule(kind="min-max") if isinstance(config, MaskCLIPConfig) else MaskRule(),
        description=f"{type(config).__name__.removesuffix('Config')}, converted from {entry.repository}; trained on "
        "images and sentences from the web, without masks.",
        licence=entry.licence,
        origin={"repository": entry.repository, "file": weights.name},
    )
    native.save(out, stored, card, tokenizer.vocabulary)


def _named(weights: Path, kind: str) -> dict[str, Tensor]:
    """The weights under our names. Older files also hold the positions' numbers, which are not weights."""
    stored = tensors_in(read_file(weights), weights)
    check_finite(stored, weights)
    return {f"{kind}.{name}": tensor for name, tensor in stored.items() if not name.endswith(".position_ids")}


def _preprocess(config: Config) -> Preprocess:
    """For MaskCLIP 512 pixels, with CLIP's mean unless `as_published`; for GroupViT 224 pixels and ImageNet's mean."""
    if not isinstance(config, MaskCLIPConfig):
        return Preprocess(image_size=224, max_tokens=config.longest_sentence)  # type: ignore[attr-defined]
    plain = Preprocess(image_size=512, max_tokens=config.longest_sentence)
    if config.as_published:
        return plain
    return Preprocess(image_size=512, max_tokens=config.longest_sentence, mean=CLIP_MEAN, std=CLIP_STD)


def _config(kind: str, settings: dict[str, Any], tokenizer: ClipTokenizer, options: Mapping[str, Any]) -> Config:
    """The config of ours with the sizes in a `config.json`, whose omissions transformers fills in."""
    if kind == "clip":
        return MaskCLIPConfig.published(settings, options)
    dummy, _ = ClipTokenizer(tokenizer.vocabulary).encode([DUMMY], LONGEST)
    return GroupViTConfig.published(settings, {**options, "dummy": tuple(dummy[0].tolist())})


def _settings(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read as JSON ({error}); get a whole copy.") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no settings; get a whole copy.")
    return content
