"""A run remembers what it was trained on, and can be made longer."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file

from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.models.late_fusion import LateFusionConfig
from deixis.runs.data import StoredData, ToylandData
from deixis.runs.data_digest import digest
from deixis.runs.execute import execute
from deixis.runs.open_data import open_data
from deixis.runs.run import LEARNED, Chain, Run
from deixis.text.bert import BertConfig
from deixis.training.schedule import Schedule
from deixis.vision.swin import SwinConfig


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "mine"
    folder.mkdir()
    for split, count in (("train", 4), ("val", 2)):
        lines = []
        for number in range(count):
            name = f"{split}{number}.png"
            Image.new("RGB", (32, 32), (40 * number, 99, 50)).save(folder / name)
            record = {"image": name, "expression": f"block {number}", "mask": [[4, 4, 20, 4, 20, 20, 4, 20]]}
            lines.append(json.dumps(record) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return Run(
        data=StoredData(root=str(folder)),
        system=LateFusionConfig(
            vision=SwinConfig(embed_dim=4, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4, drop_path=0.1),
            text=BertConfig(layers=1, width=8, heads=1, feed_forward=8, vocabulary=200, positions=8),
            width=8,
        ),
        preprocess=Preprocess(image_size=32, max_tokens=6),
        schedule=Schedule(steps=2, batch_size=2, decay="constant"),
        vocabulary=LEARNED,
        workers=0,
    )


def edit(run: Run, split: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    assert isinstance(run.data, StoredData)
    file = Path(run.data.root) / f"{split}.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    change(records)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def longer(run: Run, steps: int) -> Run:
    return replace(run, schedule=replace(run.schedule, steps=steps))


@pytest.mark.parametrize(
    ("split", "change", "sentence"),
    [
        ("train", lambda records: records.pop(), "training has 3 samples, and had 4"),
        ("val", lambda records: records.append({**records[0]}), "validation has 3 samples, and had 2"),
        ("train", lambda records: records[1].update(expression="a cup"), "the expressions of training differ"),
        ("val", lambda records: records[0]["mask"][0].__setitem__(0, 9), "the masks of validation differ"),
        (
            "train",
            lambda records: records[0].update(image="train1.png", mask=[[0, 0, 9, 0, 9, 9]]),
            "the ids and masks of training differ",
        ),
    ],
)
def test_a_run_is_not_resumed_on_other_data_unless_that_is_allowed(
    run: Run, tmp_path: Path, split: str, change: Callable[[list[dict[str, Any]]], None], sentence: str
) -> None:
    out = tmp_path / "out"
    execute(run, out, quiet=True)
    edit(run, split, change)
    with pytest.raises(InputError, match=f"The data changed since .*{sentence}.*--data-changed"):
        execute(longer(run, 4), out, resume=True, quiet=True)
    assert execute(longer(run, 4), out, resume=True, data_changed=True, quiet=True).step == 4
    assert execute(longer(run, 5), out, resume=True, quiet=True).step == 5  # what changed is what it remembers now


def test_a_digest_depends_on_the_order_of_the_records(run: Run) -> None:
    before = digest(run.data, *open_data(run.data))
    assert digest(run.data, *open_data(run.data)) == before
    edit(run, "train", lambda records: records.reverse())
    after = digest(run.data, *open_data(run.data))
    assert after.validation == before.validation
    assert after.training.masks == before.training.masks  # all of them are equal here
    assert after.training.expressions != before.training.expressions


def test_toyland_is_known_by_its_ids_without_drawing_it() -> None:
    data = ToylandData(packed=None, num_scenes=2, validation_scenes=1, size=48)
    found = digest(data, *open_data(data))
    assert (found.training.masks, found.training.expressions) == (None, None)
    other = replace(data, num_scenes=3)
    assert digest(other, *open_data(other)).training != found.training


def test_a_finished_run_is_made_longer_and_ends_as_if_it_had_been_so_long(run: Run, tmp_path: Path) -> None:
    """At a constant rate, which does not depend on the end."""
    assert execute(run, tmp_path / "two", quiet=True).step == 2
    assert execute(longer(run, 4), tmp_path / "two", resume=True, quiet=True).step == 4
    assert execute(longer(run, 4), tmp_path / "two", resume=True, quiet=True).step == 4  # it is finished
    execute(longer(run, 4), tmp_path / "four", quiet=True)
    one, other = (load_file(tmp_path / name / "last/model.safetensors") for name in ("two", "four"))
    assert all(one[name].equal(other[name]) for name in one)


def test_the_refusal_of_another_run_names_the_way_to_a_longer_one(run: Run, tmp_path: Path) -> None:
    execute(run, tmp_path / "out", quiet=True)
    for other in (longer(run, 1), replace(longer(run, 4), seed=1)):
        with pytest.raises(
            InputError, match=r"another run .* Resumed with more --schedule\.steps, or epochs, a run goes"
        ):
            execute(other, tmp_path / "out", resume=True, quiet=True)
    chain = Chain(runs={"one": run})
    execute(chain, tmp_path / "chain", quiet=True)
    with pytest.raises(InputError, match="use `deixis train finetune --from` its folder"):
        execute(Chain(runs={"one": longer(run, 4)}), tmp_path / "chain", resume=True, quiet=True)
