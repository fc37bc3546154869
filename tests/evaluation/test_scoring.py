"""Scoring a system: the masks of the Segmenter, whatever the batches, processes and interruptions."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deixis import masks
from deixis.batch import Batch, Output
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError, InputError, ModelError
from deixis.evaluation.evaluator import evaluate, evaluate_predictions, result_file
from deixis.evaluation.job import Evaluation
from deixis.evaluation.report import Result
from deixis.evaluation.scoring import Scoring, grouped_batches, limited, score_system
from deixis.metrics.protocols import PROTOCOLS
from deixis.predict.segmenter import Segmenter
from deixis.records import Ids, MaskRule, Sample
from deixis.text.tokenizer import Tokenizer

RULES = PROTOCOLS["full"]


VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "bright", "place")


class Bright(nn.Module):
    """Marks pixels that are brighter than the expression is long."""

    def forward(self, batch: Batch, *, features: tuple[str, ...] = (), explain: bool = False) -> Output:
        length = (batch.token_ids * batch.token_mask).sum(dim=1).float() / 80
        return Output(logits=8 * (batch.expand(batch.images)[:, 0].mean(dim=1) - length[:, None, None]))


class Picture:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.size = (20 + seed, 31)

    num_frames = 1

    def read(self, frames: object = None) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        return np.kron(coarse, np.ones((8, 8, 1), dtype=np.uint8))[None, : self.size[0], : self.size[1]]


class Noise:
    """Twelve expressions about five pictures of different sizes, one picture's scattered over the split."""

    ids = tuple(Ids(str(number % 5), str(number // 2), f"s{number}") for number in range(12))

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        if position == self.stop_at:
            raise KeyboardInterrupt
        picture = Picture(position % 5)
        target = np.random.default_rng(position).random(picture.size) < 0.4
        return Sample(
            visual=picture,
            expression="a " * (position % 4) + "bright place",
            mask=masks.encode(target),  # type: ignore[arg-type]
            ids=self.ids[position],
            dataset="noise",
            split="val",
        )


@dataclass(frozen=True)
class Card:
    mask_rule: MaskRule


def segmenter(card: Card | None = None, fit: Any = "stretch") -> Segmenter:
    preprocess = Preprocess(image_size=16, max_tokens=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fit=fit)
    return Segmenter(Bright(), Tokenizer(VOCABULARY), preprocess, card, name="bright")


def scored(rules: Any = RULES, **settings: Any) -> dict[str, Any]:
    batches = score_system(segmenter(), Noise(), rules, Scoring(**settings))
    return {one.ids.sentence: one for batch in batches for one in batch}


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("rule", [MaskRule(), MaskRule(kind="min-max", threshold=0.6), MaskRule(kind="half-maximum")])
def test_scores_are_those_of_the_segmenters_masks(rule: MaskRule, fit: str) -> None:
    one, reader = segmenter(Card(rule), fit), Noise()
    batches = score_system(one, reader, RULES, Scoring(batch_size=5))
    found = {score.ids.sentence: score for batch in batches for score in batch}
    assert len(found) == 12
    for position in range(12):
        sample = reader[position]
        prediction = one(sample.visual.read()[0], sample.expression)
        expected = masks.intersection_and_union(masks.encode(prediction.mask), sample.mask)
        best = found[sample.ids.sentence].best
        assert (best.intersection, best.union) == expected
        assert best.score == pytest.approx(prediction.score)
    assert len({one.best.area for one in found.values()}) > 5


def test_batch_size_and_workers_change_nothing() -> None:
    assert scored(batch_size=1) == scored(batch_size=5) == scored(batch_size=12, workers=1)


def test_the_480_pixel_protocol_thresholds_there() -> None:
    found, reader = scored(PROTOCOLS["lavt-480"]), Noise()
    sample = reader[3]
    assert sample.mask is not None
    assert found["s3"].target == int(masks.resize(masks.decode(sample.mask), 480, 480).sum())
    batch = next(iter(score_system(segmenter(), limited(reader, 1), PROTOCOLS["lavt-480"], Scoring())))
    token_ids, token_mask = map(torch.as_tensor, Tokenizer(VOCABULARY).encode([reader[0].expression], 8))
    pixels = torch.as_tensor(segmenter().preprocess.image(reader[0].visual.read()[0]))[None, None]
    probability = Bright()(Batch(images=pixels, token_ids=token_ids, token_mask=token_mask)).logits.sigmoid()[None]
    # Enlarging: antialiasing has nothing to do, so plain bilinear is the oracle.
    enlarged = nn.functional.interpolate(probability, (480, 480), mode="bilinear", align_corners=False)
    assert batch[0].best.area == pytest.approx(int((enlarged > 0.5).sum()), abs=2)


def test_processes_score_every_expression_once() -> None:
    parts = [scored(batch_size=2, rank=rank, ranks=3) for rank in range(3)]
    assert sum(map(len, parts)) == 12
    assert parts[0] | parts[1] | parts[2] == scored()


def test_sentences_of_an_image_share_a_batch() -> None:
    plan = grouped_batches(Noise.ids, 4)
    assert sorted(position for batch in plan for position in batch) == list(range(12))
    assert max(map(len, plan)) <= 4
    for image in range(5):
        assert sum(any(Noise.ids[position].image == str(image) for position in batch) for batch in plan) == 1


def test_a_limit_takes_expressions_from_all_over_the_split() -> None:
    assert limited(Noise(), None).ids == limited(Noise(), 99).ids == Noise.ids
    few = limited(Noise(), 3)
    assert [one.sentence for one in few.ids] == ["s0", "s6", "s11"]
    assert few[1].ids.sentence == "s6"
    with pytest.raises(DeixisError, match="expected 1 or more expressions"):
        limited(Noise(), 0)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"workers": -1}, {"threshold": 1.0}], ids=str)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DeixisError, match=r"expected 1 or more|between 0 and 1"):
        Scoring(**wrong)


def test_nan_is_an_error_of_the_model_and_not_scored() -> None:
    class Broken(Bright):
        def forward(self, batch: Batch, **options: Any) -> Output:
            return Output(logits=super().forward(batch).logits * float("nan"))

    broken = Segmenter(Broken(), Tokenizer(VOCABULARY), segmenter().preprocess)
    with pytest.raises(ModelError, match="not finite"):
        list(score_system(broken, Noise(), RULES, Scoring()))


def evaluation(out: Path, reader: Noise) -> Evaluation:
    return Evaluation(reader=reader, rules=RULES, dataset="noise", split="val", out=out, draws=50)


def evaluated(out: Path, reader: Noise, *, resume: bool = False, ranks: int = 1) -> Result:
    work = evaluation(out, reader)
    header = work.header("bright", "abc", MaskRule())
    done = work.done(header, resume=resume)
    for rank in range(ranks):
        work.score_system(segmenter(), Scoring(batch_size=2, rank=rank, ranks=ranks), header, done)
    return work.finish(header, run={"steps": 1}, started=0.0)


def told(out: Path) -> dict[str, Any]:
    fields = json.loads(out.read_text())
    del fields["wall_seconds"], fields["records"]
    return fields


def test_an_interrupted_evaluation_resumes_to_the_same_files(tmp_path: Path) -> None:
    evaluated(tmp_path / "whole.json", Noise())
    broken = tmp_path / "broken.json"
    with pytest.raises(KeyboardInterrupt):
        evaluated(broken, Noise(stop_at=7))
    (part,) = evaluation(broken, Noise()).parts
    lines = part.read_text().splitlines()
    assert 1 < len(lines) < 13
    with part.open("a") as file:
        file.write(lines[-1][:30])  # the crash tore a line
    with pytest.raises(DeixisError, match="--resume"):
        evaluated(broken, Noise())
    evaluated(broken, Noise(), resume=True, ranks=2)
    assert told(broken) == told(tmp_path / "whole.json")
    records = [(tmp_path / f"{name}.records.jsonl").read_text() for name in ("whole", "broken")]
    assert records[0] == records[1]
    assert not evaluation(broken, Noise()).parts


def test_scored_expressions_are_not_scored_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "a.json", Noise(stop_at=7))
    work = evaluation(tmp_path / "a.json", Noise())
    done = work.done(work.header("bright", "abc", MaskRule()), resume=True)
    again = [one.ids.sentence for batch in score_system(segmenter(), Noise(), RULES, Scoring(), done) for one in batch]
    assert done
    assert not done.intersection(again)
    assert done.union(again) == {one.sentence for one in Noise.ids}


def test_records_of_another_model_are_not_continued(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "a.json", Noise(stop_at=7))
    work = evaluation(tmp_path / "a.json", Noise())
    with pytest.raises(DeixisError, match="checkpoint_hash"):
        work.done(work.header("bright", "other", MaskRule()), resume=True)


def test_records_computed_differently_are_not_continued(tmp_path: Path) -> None:
    work = evaluation(tmp_path / "a.json", Noise())
    computed = segmenter().computed
    begun = work.header("bright", "abc", MaskRule(), computed)
    work.score_system(segmenter(), Scoring(rank=0, ranks=2, batch_size=2), begun)
    assert work.done(begun, resume=True)
    for name, value in {"device": "cuda", "dtype": "bfloat16", "compiled": True}.items():
        with pytest.raises(DeixisError, match="another evaluation \\(computed"):
            work.done(work.header("bright", "abc", MaskRule(), computed | {name: value}), resume=True)


def test_a_result_may_have_any_name(tmp_path: Path) -> None:
    evaluated(tmp_path / "res[1].json", Noise())
    assert not evaluation(tmp_path / "res[1].json", Noise()).parts
    assert (tmp_path / "res[1].records.jsonl").is_file()


def test_unfinished_work_has_no_result(tmp_path: Path) -> None:
    work = evaluation(tmp_path / "a.json", Noise())
    header = work.header("bright", None, MaskRule())
    work.score_system(segmenter(), Scoring(rank=0, ranks=2, batch_size=2), header)
    with pytest.raises(DeixisError, match="not scored yet"):
        work.finish(header, run=None, started=0.0)
    assert not (tmp_path / "a.json").exists()


def test_evaluate_scores_a_reader_and_keeps_files_only_where_they_are_requested(tmp_path: Path) -> None:
    kept = evaluate(segmenter(), Noise(), split="val", out=tmp_path, draws=50)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bright-noise-val-full.json",
        "bright-noise-val-full.records.jsonl",
    ]
    assert Result.read(tmp_path / "bright-noise-val-full.json") == kept
    assert (kept.num_expressions, kept.mask_rule, kept.threshold) == (12, "probability", 0.5)
    found = scored()
    assert kept.measures["mIoU"].value == pytest.approx(100 * np.mean([one.iou(RULES) for one in found.values()]))
    temporary = evaluate(segmenter(), Noise(), draws=50)
    assert temporary.measures == kept.measures
    strict = evaluate(segmenter(), Noise(), threshold=0.9, draws=50)
    assert strict.threshold == 0.9
    assert strict.measures["oIoU"].value != kept.measures["oIoU"].value


def test_evaluate_resumes_where_it_was_interrupted(tmp_path: Path) -> None:
    whole = evaluate(segmenter(), Noise(), out=tmp_path / "whole.json", draws=50, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(segmenter(), Noise(stop_at=7), out=tmp_path / "broken.json", draws=50, batch_size=2)
    with pytest.raises(InputError, match="--resume"):
        evaluate(segmenter(), Noise(), out=tmp_path / "broken.json", draws=50, batch_size=2)
    again = evaluate(segmenter(), Noise(), out=tmp_path / "broken.json", draws=50, batch_size=2, resume=True)
    assert again.measures == whole.measures


def test_evaluate_predictions_scores_a_file_of_masks(tmp_path: Path) -> None:
    lines = [{"id": Noise.ids[number].sentence, "rle": Noise()[number].mask} for number in range(11)]
    (tmp_path / "masks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputError, match="no mask for 1 of 12"):
        evaluate_predictions(tmp_path / "masks.jsonl", Noise(), draws=50)
    found = evaluate_predictions(tmp_path / "masks.jsonl", Noise(), draws=50, allow_missing=True)
    assert (found.num_missing, found.mask_rule, found.threshold) == (1, None, None)
    assert found.measures["P@0.9"].value == pytest.approx(100 * 11 / 12)


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"seed": -1}, {"protocol": "ful"}], ids=str)
def test_evaluate_refuses_impossible_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        evaluate(segmenter(), Noise(), **wrong)


def test_a_results_file_is_named_after_data_and_protocol(tmp_path: Path) -> None:
    assert (
        result_file(tmp_path, "runs/m/best", "../a b/r+", "val", "full") == tmp_path / "m-best-..-a-b-r+-val-full.json"
    )
    assert result_file(tmp_path / "r.json", "m", "a", "val", "full") == tmp_path / "r.json"
    with pytest.raises(InputError, match=r"ends in \.json"):
        result_file("result.txt", "m", "a", "val", "full")
