"""`load`: from a name or a path to a Segmenter; `segment`: one call from a photo and a sentence to a mask."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, overload

from .. import hub
from ..checkpoints.card import WEIGHTS
from ..checkpoints.official.published import PUBLISHED, published_name
from ..data.images import Source
from ..errors import InputError, did_you_mean
from ..predict.alternatives import Alternatives
from ..predict.exported import check_runtime, is_export, load_export
from ..predict.prediction import Prediction
from ..predict.refine import DenseCRF, refinement
from ..predict.segmenter import Expressions, Segmenter
from ..records import Config
from .bundled import ADVICE, AUTO, BUNDLED_MODELS, bundled_named, defaults

CHAIN_FILE = "chain.json"  # in the folder of a chain of runs
FILES = ("*.safetensors", "*.onnx*", "*.xml", "*.bin", "*.json", "*.txt", "README.md")  # of a repository
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # owner/name
FOREIGN_ENDINGS = {".pth", ".pt", ".bin", ".ckpt"}


def load(
    name_or_path: str | Path = AUTO,
    *,
    system: type[Config] | None = None,
    device: Any = None,
    dtype: Any = "float32",
    runtime: str | None = None,
    download: bool = False,
    compiled: bool = False,
    refine: str | DenseCRF | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Segmenter:
    """A model that is ready for photos.

    `name_or_path` is `auto` for the bundled model whose domain an image is in, `bundled` for the one of drawings on any
    image, the folder of a checkpoint, of an export, of a run (its best) or of a chain of runs (its last run), a weights
    file, the name of a published checkpoint such as `magnet-refcoco`, or a repository `owner/name` of the Hugging Face
    hub. `system` is the config class of a system of your own: a checkpoint never chooses which module is imported.

    Without `device` (a `torch.device` or its name) the fastest one available is used; `dtype` is PyTorch's or its name.
    `runtime` is `torch` for checkpoints, `onnx` or `openvino` for exports, which run on a CPU without PyTorch; by
    default it is the one that the files are for. Nothing is downloaded unless `download` allows it. A `compiled` model
    takes minutes for its first prediction and less time for the others; it needs a C++ compiler. `refine`
    post-processes every mask: `crf`, with parameters as in `crf:iterations=10`. `settings` replace fields of the config
    that belong to the prediction and change no weight, such as SaG's `iterations`. Raises `InputError` if there is no
    such model or its files are broken or do not fit the system, and `ModelError` if its weights are not finite or this
    machine cannot compile it.
    """
    refined, name = refinement(refine), str(name_or_path)
    bundled, alternatives = bundled_named(name), None
    if name == AUTO:
        name_or_path, *others = [*defaults()] or [AUTO]
        name = str(name_or_path)
        options: dict[str, Any] = {"device": device, "dtype": dtype, "compiled": compiled, "refine": refine}
        alternatives = Alternatives({other: partial(load, other, **options) for other in others}, ADVICE)
    if check_runtime(runtime) in (None, "torch") and not is_export(name_or_path):
        _check_options(device, dtype)  # before anything is downloaded or read
    place = find(name_or_path, download=download)
    if is_export(place):
        return load_export(
            place,
            name,
            runtime=runtime,
            device=device,
            dtype=dtype,
            compiled=compiled,
            refine=refined,
            settings=settings,
        )
    if runtime not in (None, "torch"):
        raise InputError(
            f"The model {name!r} is a checkpoint, which PyTorch runs; export it first: deixis export {name} OUT "
            f"--format {runtime}."
        )
    from .checkpoint_loading import load_checkpoint

    return load_checkpoint(
        place,
        name,
        system=system,
        device=device,
        dtype=dtype,
        compiled=compiled,
        refine=refined,
        settings=settings,
        alternatives=alternatives,
        note="" if bundled is None else bundled.note,
    )


def _check_options(device: Any, dtype: Any) -> None:
    """PyTorch is imported only for options that differ from the default: a repository may hold an export."""
    if device is not None or dtype != "float32":
        from .checkpoint_loading import device_of, dtype_of

        device_of(device)
        dtype_of(dtype)


@overload
def segment(
    image: Source,
    expression: str,
    *,
    model: str | Path = AUTO,
    threshold: float | None = None,
    presence_threshold: float | None = None,
) -> Prediction: ...
@overload
def segment(
    image: Source,
    expression: Expressions,
    *,
    model: str | Path = AUTO,
    threshold: float | None = None,
    presence_threshold: float | None = None,
) -> list[Prediction]: ...
def segment(
    image: Source,
    expression: str | Expressions,
    *,
    model: str | Path = AUTO,
    threshold: float | None = None,
    presence_threshold: float | None = None,
) -> Prediction | list[Prediction]:
    """The prediction for the expression; the model is loaded at the first call and cached for the next."""
    return _cached(model)(image, expression, threshold=threshold, presence_threshold=presence_threshold)


def find(name_or_path: str | Path, *, download: bool = False) -> Path:
    """The place of a model's checkpoint. Raises `InputError` with the nearest name if there is none.

    An existing folder or file has priority over a published checkpoint of the same name.
    """
    if (bundled := bundled_named(str(name_or_path))) is not None:
        if not bundled.exists:
            raise InputError("This copy of deixis has no bundled model; give the folder of a checkpoint as the model.")
        return bundled.folder
    path = Path(name_or_path)
    if path.is_dir():
        return _inside(path)
    if path.is_file():
        if path.suffix in FOREIGN_ENDINGS:
            raise InputError(f"{path} is a PyTorch file; convert it once: deixis checkpoint convert {path} OUT.")
        return path
    if (name := published_name(str(name_or_path))) is not None:
        return _published(name, download)
    is_address = REPOSITORY.fullmatch(str(name_or_path)) is not None
    if is_address and (place := hub.snapshot(str(name_or_path), FILES, download=download)) is not None:
        return _inside(place)
    from . import hub_models

    if str(name_or_path) in hub_models.HUB_MODELS:
        return hub_models.find(str(name_or_path), download=download)
    beside = path.parent if path.parent.is_dir() else Path()
    names = [
        AUTO,
        *BUNDLED_MODELS,
        *PUBLISHED,
        *hub_models.HUB_MODELS,
        *(str(place) for place in beside.glob("*") if _holds_model(place)),
    ]
    remote = " A repository of the Hugging Face hub is fetched with --download." if is_address else ""
    raise InputError(f"There is no model {str(name_or_path)!r}. {did_you_mean(str(name_or_path), names)}{remote}")


def _inside(folder: Path) -> Path:
    """The checkpoint in the folder of a checkpoint, a run or a chain."""
    if is_export(folder):
        return folder
    for place in (folder, folder / "best", folder / "last"):
        if (place / WEIGHTS).exists():
            return place
    if (folder / CHAIN_FILE).exists():
        *earlier, last = json.loads((folder / CHAIN_FILE).read_text(encoding="utf-8"))["runs"]
        if _holds_model(folder / last):
            return _inside(folder / last)
        raise InputError(
            f"The chain in {folder} has not trained its last run, {last!r}, yet; resume its training, or give the "
            f"folder of an earlier run ({', '.join(earlier)})."
        )
    raise InputError(f"The folder {str(folder)!r} holds no {WEIGHTS}; give the folder of a checkpoint or a run.")


def _published(name: str, download: bool) -> Path:
    from .conversion import kept, obtain

    place = kept(name)
    if download or (place / WEIGHTS).exists():
        return obtain(name)
    raise InputError(
        f"The published checkpoint {name!r} is not on this machine, and nothing is downloaded without permission; "
        f"allow it once (some 1.2 GB) with `deixis checkpoint download {name}`, --download or load(…, download=True)."
    )


def _holds_model(place: Path) -> bool:
    return is_export(place) or any((place / folder / WEIGHTS).is_file() for folder in ("", "best", "last"))


@lru_cache(maxsize=2)
def _cached(model: str | Path) -> Segmenter:
    return load(model)
