"""The model's side: jobs that share a pass, and the version that changes with what changes answers."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deixis.server.answering import Answerer, Task, version_of
from deixis.server.limits import Limits
from deixis.server.service import Service
from deixis.server.worker import Job
from tests.predict.test_segmenter import ColourSystem, segmenter
from tests.server.stub import Redness, photo
from tests.server.test_worker import wait


@pytest.fixture
def answerer(monkeypatch: pytest.MonkeyPatch) -> Answerer:
    """As on a GPU, which this test does not need."""
    monkeypatch.setattr(Answerer, "on_accelerator", True)
    one = Answerer(lambda: segmenter(ColourSystem()), Limits())
    one.start()
    return one


def job(image: bytes, *sentences: str) -> Job:
    return Job(Task(content=image, sentences=sentences, render=lambda prediction: prediction.box))


def test_jobs_about_several_images_share_a_pass(answerer: Answerer) -> None:
    red, other = photo(40, 30), photo(20, 20)
    assert answerer.run([job(red, "red", "blue"), job(other, "the red thing")]) == [
        [(2, 1, 4, 3), None],
        [(2, 1, 4, 3)],
    ]
    assert answerer.model.system.batches == [(2, 3)]  # type: ignore[attr-defined]


def test_a_job_that_fails_leaves_the_others_of_its_batch(answerer: Answerer) -> None:
    bad, good = answerer.run([job(b"no image", "red"), job(photo(40, 30), "red")])
    assert "The image is not an image" in str(bad)
    assert good == [(2, 1, 4, 3)]


def test_the_version_changes_with_the_weights(tmp_path: Path) -> None:
    model = Redness()
    versions = [version_of(model)]
    for content in (b"one", b"two"):
        (tmp_path / "weights").write_bytes(content)
        model.weights = tmp_path / "weights"  # type: ignore[attr-defined]
        versions.append(version_of(model))
    assert len(set(versions)) == 3
    assert all(version.startswith("redness-") for version in versions)


def test_answers_name_the_model_without_its_folder() -> None:
    model = segmenter(ColourSystem())
    model.name = "/srv/models/cups"
    one = Answerer(lambda: model, Limits())
    one.start()
    asked = Task(content=photo(40, 30), sentences=("red",), render=lambda prediction: prediction.to_json()["model"])
    assert one.run([Job(asked)]) == [["cups"]]
    assert one.facts["name"] == "cups"


class Recorded(Answerer):
    """On the device of its model; it keeps the sentences of each batch, and waits until it is opened."""

    def __init__(self, device: str) -> None:
        super().__init__(Redness, Limits())
        self.device, self.open, self.batches = device, threading.Event(), list[list[str]]()

    def start(self) -> None:
        super().start()
        self.model.device = self.device  # type: ignore[attr-defined]

    def run(self, jobs: Sequence[Any]) -> list[list[Any] | BaseException]:
        self.batches.append([job.task.sentences[0] for job in jobs])
        assert self.open.wait(5)
        return [[job.task.sentences] for job in jobs]


@pytest.mark.parametrize(
    ("device", "window", "batches"),
    [("cuda", 0.01, [["first"], ["a", "b", "c"]]), ("cpu", 0.0, [["first"], ["a"], ["b"], ["c"]])],
)
def test_questions_share_a_batch_on_a_gpu_only(device: str, window: float, batches: list[list[str]]) -> None:
    service = Service(answerer := Recorded(device), Limits(), log=lambda line: None)
    wait(lambda: service.worker.state == "ready")
    first = service.worker.submit(job(photo(), "first").task)
    wait(lambda: answerer.batches == [["first"]])
    others = [service.worker.submit(job(photo(), sentence).task) for sentence in "abc"]
    answerer.open.set()
    for each in (first, *others):
        assert each.future.result(5) == [each.task.sentences]
    assert answerer.batches == batches
    assert service.worker.window == window
    service.stop()
