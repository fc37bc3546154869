"""The output folder of a prediction run: Parquet files with one schema, and a manifest that says how they were made."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import InputError
from ...files import replaced

# Readers of whole folders, such as pyarrow, pandas and Spark, skip names with an underscore in front.
MANIFEST, FORMER_MANIFEST = "_manifest.json", "manifest.json"
# Written out: a file whose rows all lack an error would otherwise have another type there than the next one.
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("image", pa.string(), nullable=False),
        pa.field("expression", pa.string(), nullable=False),
        ("present", pa.bool_()),  # null without a presence head
        ("score", pa.float64()),
        ("box", pa.list_(pa.int32(), 4)),  # left, top, width, height; null for an empty mask
        ("size", pa.list_(pa.int32(), 2)),  # height, width
        ("rle", pa.string()),  # COCO's compressed run lengths
        ("notes", pa.list_(pa.string())),  # such as that the image is outside the model's domain
        ("error", pa.string()),  # null where there is a mask
        pa.field("model", pa.string(), nullable=False),  # that answered
    ]
)


def write_part(folder: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    """A new file with these records, which appears whole or not at all; every writer's names are its own."""
    path = folder / f"part-{uuid4().hex}.parquet"
    with replaced(path) as beside:
        pq.write_table(pa.Table.from_pylist([dict(each) for each in records], schema=SCHEMA), beside)
    return path


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def finished(folder: Path) -> dict[str, bool]:
    """The ids of all rows that the folder has an answer or an error for, and whether it is an error."""
    found: dict[str, bool] = {}
    for path in parts(folder):
        for name, error in _columns(path, "id", "error"):
            found.setdefault(name, error is not None)
    return found


def read_answers(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of all files; of several with one id, as killed processes can leave, the first one."""
    seen: set[str] = set()
    for path in parts(folder):
        for record in pq.read_table(path, schema=SCHEMA).to_pylist():
            if record["id"] not in seen:
                seen.add(record["id"])
                yield record


def open_folder(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make the folder, or continue it; raises `InputError` where other settings have made what it holds."""
    path = folder / (FORMER_MANIFEST if (folder / FORMER_MANIFEST).exists() else MANIFEST)
    if path.exists():
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is not JSON ({error}); give another --out.") from None
        if differing := [key for key in {**written, **manifest} if written.get(key) != manifest.get(key)]:
            raise InputError(
                f"The answers in {folder} were made with another {' and '.join(differing)}; give another --out."
            )
        path.rename(folder / MANIFEST)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something other than answers; give a new or an empty folder as --out.")
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(path) as beside:
        beside.write_text(json.dumps(dict(manifest), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _columns(path: Path, *names: str) -> Iterator[tuple[Any, ...]]:
    try:
        table = pq.read_table(path, columns=list(names))
        return zip(*(table[name].to_pylist() for name in names), strict=True)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); remove it, and its rows are computed again.") from None
