"""Converting a data set to JSONL or COCO JSON, and back and forth, changes no mask."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deixis import masks
from deixis.data.readers.formats import open_splits
from deixis.data.tools.conversion import Layout, convert
from deixis.data.validation import Issues, validate

Y, X = np.mgrid[:24, :32]


@st.composite
def shapes(draw: st.DrawFn) -> np.ndarray:
    left, top = draw(st.integers(0, 20)), draw(st.integers(0, 14))
    width, height = draw(st.integers(3, 11)), draw(st.integers(3, 9))
    return (left <= X) & (left + width > X) & (top <= Y) & (top + height > Y)


def written(folder: Path, kind: str, mask: np.ndarray, name: str) -> Any:
    """The mask as one of the forms that a record may have."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    box = [int(side) for side in (left, top, right, top, right, bottom, left, bottom)]
    grey = mask.astype(np.uint8)
    images = {
        "png": Image.fromarray(grey * 255),
        "0/1": Image.fromarray(grey),
        "one bit": Image.fromarray(mask),
        "red": Image.fromarray(grey[..., None] * np.array([255, 0, 0], dtype=np.uint8)),
        "alpha": Image.merge("LA", (Image.new("L", (32, 24)), Image.fromarray(grey * 255))),
        "two colours": Image.fromarray(grey * 255).quantize(2),
    }
    if kind in images:
        images[kind].save(folder / f"{name}.png")
        return f"{name}.png"
    forms = {"rle": masks.encode(mask), "polygon": box, "polygons": [box, box], "none": None, "empty": []}
    return forms[kind]


KINDS = ("rle", "polygon", "polygons", "png", "0/1", "one bit", "red", "alpha", "two colours", "none", "empty")


def contents(root: Path) -> list[tuple[Any, ...]]:
    issues = Issues()
    readers = {split: validate(reader, issues) for split, reader in open_splits(root).items()}
    return [
        (split, sample.ids, sample.expression, sample.mask, dict(sample.traits), sample.visual.read().tobytes())
        for split, reader in sorted(readers.items())
        for sample in reader
    ]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), shapes()), min_size=1, max_size=6), st.data())
def test_no_conversion_changes_a_mask(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, np.ndarray]], data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("set")
    lines = []
    for number, (kind, mask) in enumerate(drawn):
        photo = f"{number % 2}.png"
        Image.fromarray(np.full((24, 32, 3), number % 2, dtype=np.uint8)).save(root / photo)
        split = data.draw(st.sampled_from(["train", "val"]))
        mask_of = written(root, kind, mask, f"mask{number}")
        lines.append({"image": photo, "expression": f"thing {number}", "mask": mask_of, "split": split})
    (root / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    first = contents(root)
    truth = {f"thing {number}": one for number, one in enumerate(drawn)}
    for _, _, expression, rle, _, _ in first:
        kind, mask = truth[expression]
        expected = {"none": None, "empty": np.zeros((24, 32), dtype=bool)}.get(kind, mask)
        assert (rle is None) == (expected is None)
        if rle is not None:
            np.testing.assert_array_equal(masks.decode(rle), expected)
    previous = root
    layouts: tuple[Layout, ...] = data.draw(st.permutations(["jsonl", "coco", "jsonl"]))
    for layout in layouts:
        out = tmp_path_factory.mktemp("out") / layout
        convert(open_splits(previous), out, layout)
        assert sorted(contents(out), key=str) == sorted(first, key=str)
        previous = out
