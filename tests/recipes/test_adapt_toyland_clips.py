"""SDA between Toyland's clips: the chains of the rows, trained for two steps, and the benchmark's table."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import clip_adaptation as benchmark
from benchmarks.adaptation.scores import MEASURES
from benchmarks.adaptation.training import run_folders
from deixis.models.scene_parsing import SceneParsingConfig
from deixis.recipes.adapt_toyland import TARGET_SCENES
from deixis.recipes.adapt_toyland_clips import FRAME_PARSING, clip_oracle, clip_sda, source_only, toyland_clips_transfer
from deixis.recipes.toyland import SCENE_PARSING
from deixis.runs.data import ToylandData
from deixis.runs.execute import execute
from deixis.runs.open_data import open_data
from deixis.runs.run import Chain, Run
from deixis.text.gru import GRUConfig
from deixis.vision.i3d import I3DConfig
from deixis.vision.resnet import ResNetConfig
from tests.recipes.test_sda import STAGES

SIDE = 48


def tiny(packed: Path) -> Run:
    """The source's Run on three clips, for two steps."""
    run: Any = toyland_clips_transfer()
    small = {"num_scenes": 3, "validation_scenes": 1, "validation_limit": 2, "size": SIDE, "packed": str(packed)}
    vision = replace(run.system.vision, width=4)
    text = GRUConfig(vocabulary=400, embedding=8, width=8)
    return replace(
        run,
        data=replace(run.data, **small, sentences_per_object=1),
        target=replace(run.target, **small, sentences_per_object=1),
        system=replace(run.system, vision=vision, text=text, width=8, decoder_width=4, regions=8),
        preprocess=replace(run.preprocess, image_size=SIDE, max_tokens=8),
        schedule=replace(run.schedule, steps=2, batch_size=4, warm_up=1, validate_every=2, save_every=2, log_every=1),
    )


def shortened(chain: Chain, run: Run) -> Chain:
    """The chain with two steps of small encoders, and options that few clips suffice for."""
    runs: dict[str, Any] = dict(chain.runs)
    for name in (SCENE_PARSING, FRAME_PARSING):
        if name in runs:
            small = replace(runs[name].system.vision, width=4)
            system = replace(runs[name].system, vision=small, width=8)
            runs[name] = replace(runs[name], system=system, schedule=replace(run.schedule, batch_size=2))
    if "semantic" in runs:
        classifier = replace(runs["classifier"].system, vision=replace(runs["classifier"].system.vision, width=4))
        runs["semantic"] = replace(runs["semantic"], objective=STAGES.semantic)
        runs["classifier"] = replace(runs["classifier"], system=classifier)
        runs["sda"] = replace(runs["sda"], objective=replace(STAGES.dual, classifier=classifier))
    return Chain(runs=runs)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packed")


def test_the_domains_differ_in_content_style_and_language_and_share_no_clip() -> None:
    run = toyland_clips_transfer()
    source, target = run.data, run.target
    assert isinstance(source, ToylandData)
    assert isinstance(target, ToylandData)
    assert source.num_frames == target.num_frames == run.preprocess.num_frames == 8
    for name in ("content", "style", "subsets"):
        assert getattr(source, name) != getattr(target, name)
    assert source.skip_scenes + source.num_scenes <= target.skip_scenes == TARGET_SCENES


def test_clips_have_classes_for_the_encoder_and_sentences_for_the_system(packed: Path) -> None:
    runs: Mapping[str, Any] = source_only(tiny(packed)).runs
    classes, sentences = (open_data(runs[name].data)[0][0] for name in (SCENE_PARSING, "source"))
    assert classes.frame == sentences.frame == 4
    assert classes.visual.num_frames == sentences.visual.num_frames == 8
    assert set(classes.targets) == {name for name, _ in runs[SCENE_PARSING].system.attributes}
    assert classes.mask is None
    assert sentences.mask is not None


@pytest.mark.parametrize("row", ["oracle", pytest.param("sda", marks=pytest.mark.slow)])
def test_a_row_is_trained_on_clips(row: str, packed: Path, tmp_path: Path) -> None:
    run = tiny(packed)
    result = execute(shortened({"oracle": clip_oracle, "sda": clip_sda}[row](run), run), tmp_path, quiet=True)
    assert result.finished
    assert result.scores is not None
    assert result.scores.keys() >= {"oIoU", "mIoU"}
    assert (row == "sda") == bool(list((tmp_path / "sda" / "semantic_masks").rglob("*.png")))


def test_the_classifier_starts_from_a_network_that_sees_single_frames() -> None:
    runs: Mapping[str, Any] = clip_sda(toyland_clips_transfer()).runs
    assert [*runs] == [SCENE_PARSING, "source", "predictor", "semantic", FRAME_PARSING, "classifier", "sda"]
    assert isinstance(runs[FRAME_PARSING].system, SceneParsingConfig)
    assert runs[FRAME_PARSING].system.vision == runs["classifier"].system.vision
    assert isinstance(runs[FRAME_PARSING].system.vision, ResNetConfig)
    assert isinstance(runs[SCENE_PARSING].system.vision, I3DConfig)
    assert (runs[FRAME_PARSING].preprocess.num_frames, runs[SCENE_PARSING].preprocess.num_frames) == (1, 8)
    assert runs["classifier"].start_from.checkpoint == FRAME_PARSING
    assert runs["source"].start_from.checkpoint == SCENE_PARSING


def test_rows_share_the_runs_that_they_begin_with() -> None:
    run = toyland_clips_transfer()
    folders = {row: dict(run_folders(chain(run), Path("all"))) for row, chain in benchmark.CHAINS.items()}
    assert len({each[SCENE_PARSING] for each in folders.values()}) == 1
    assert len({each["source"] for each in folders.values() if "source" in each}) == 1
    assert len({[*each.values()][-1] for each in folders.values()}) == len(folders)


def test_the_table_says_what_part_of_the_gap_is_closed() -> None:
    def row(value: float, measures: tuple[str, ...] = MEASURES) -> dict[str, Any]:
        return {"scores": {name: {"value": value, "low": value - 1, "high": value + 1} for name in measures}}

    rows = {f"{name} / 0": row(value) for name, value in (("source only", 20.0), ("SDA", 25.0), ("oracle", 40.0))}
    text = benchmark.table({**rows, "centre prior / 0": row(6.0, ("mIoU",)), "SDA / 1": row(30.0)})
    assert "| SDA | 0 | 25.0 (24.0 to 26.0) |" in text
    assert "| centre prior | 0 |  | 6.0 (5.0 to 7.0) |  |  |" in text
    assert text.splitlines()[-1] == (
        "Seed 0: SDA is +5.0 mIoU from source only, the oracle +20.0; SDA closes 25 % of the gap."
    )
