"""A Run with a target domain: what it reads, trains on, scores and resumes to; on Toyland's scenes."""

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from deixis.adapt.mmd import MMD, MMDConfig
from deixis.batch import Pair
from deixis.checkpoints import native
from deixis.data.transforms import Preprocess
from deixis.models.vega import VEGAConfig
from deixis.records import Reader
from deixis.runs.data import ToylandData
from deixis.runs.execute import execute, read_job
from deixis.runs.open_data import DomainReaders, open_domains
from deixis.runs.run import LEARNED, Run
from deixis.text.bert import BertConfig
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule
from deixis.vision.swin import SwinConfig
from deixis.zoo.loading import load

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "training" / "tiny.py")))
SOURCE = ToylandData(subsets=("toyland",), packed=None, num_scenes=4, validation_scenes=1, validation_limit=4, size=48)
RUN = Run(
    data=SOURCE,
    target=replace(SOURCE, subsets=("toyland-g",), num_scenes=3),
    system=VEGAConfig(
        vision=SwinConfig(embed_dim=4, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4, drop_path=0.1),
        text=BertConfig(layers=1, width=8, heads=1, feed_forward=8, vocabulary=900, positions=16),
        width=8,
        heads=1,
        decoder_widths=(8, 8, 8),
    ),
    objective=MMDConfig(),
    preprocess=Preprocess(image_size=64, max_tokens=14),
    optimiser=Optimiser(lr=1e-3, average=0.9, no_decay=("*norm*",)),
    schedule=Schedule(steps=4, batch_size=4, log_every=2, validate_every=2),
    vocabulary=LEARNED,
    workers=0,
)


def domains(source: Reader, target: Reader, validation: Reader | None) -> Callable[..., DomainReaders]:
    return lambda *_: DomainReaders(source=source, target=target, validation=validation)


def test_a_pair_run_trains_on_both_domains_and_is_scored_on_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, built = list[Pair](), list[MMD]()
    terms = MMD.terms

    def seen(self: MMD, batch: Pair, step: int) -> dict[str, torch.Tensor]:
        pairs.append(batch)
        built.append(self)
        return terms(self, batch, step)

    monkeypatch.setattr(MMD, "terms", seen)
    result = execute(RUN, tmp_path, quiet=True)
    assert result.finished
    assert result.scores is not None
    assert result.scores.keys() == {"mIoU", "oIoU", "P@0.5"}
    readers = open_domains(RUN.data, RUN.target)  # type: ignore[arg-type]
    sources, targets = ({ids.sentence for ids in reader.ids} for reader in (readers.source, readers.target))
    assert len(pairs) == 4
    for pair in pairs:
        assert len(pair.source) == len(pair.target) == 4
        assert pair.source.masks is not None
        assert pair.target.masks is None
        assert {ids.sentence for ids in pair.source.ids} <= sources
        assert {ids.sentence for ids in pair.target.ids} <= targets
    assert built[0].config.num_steps == 4  # the run's, though run.json still leaves it open
    assert read_job(tmp_path) == RUN
    words = set(native.read(tmp_path / "best").vocabulary)
    for reader in (readers.source, readers.target):
        said = " ".join(reader[position].expression for position in range(len(reader))).split()
        assert {word for word in said if word.isalpha()} <= words
    assert load(tmp_path)(readers.source[0].visual.read()[0], "the red thing").mask.shape == (48, 48)
