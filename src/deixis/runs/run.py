"""A Run is everything that makes a checkpoint; executing it builds the parts, trains, and writes its folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from ..checkpoints import native
from ..checkpoints.configs import from_dict, to_dict
from ..compiling import check_compiler
from ..data.batches import Batches, InOrder
from ..data.tools.leakage import leaks
from ..data.transforms import Preprocess
from ..errors import InputError
from ..files import replaced
from ..models.late_fusion import LateFusionConfig
from ..models.lavt import LAVTConfig
from ..models.magnet import MagNetConfig
from ..models.vega import VEGAConfig
from ..objectives.mask_grounding import GroundingConfig
from ..records import Reader
from ..text.tokenizer import PUBLISHED, Tokenizer
from ..training.engine import Precision
from ..training.loop import Result, train
from ..training.optim import Optimiser
from ..training.processes import processes
from ..training.schedule import Schedule
from ..training.state import STATE
from ..zoo.systems import build, name_of
from .data import Data
from .grounding import ground, optimiser_around, ungrounded
from .initialise import StartFrom, start

LEARNED = "learned"
LEARNED_FROM = 20_000  # sentences at least, evenly spread, where there are as many; a grammar has no more to say
RUN_FILE = "run.json"
_FREE_TO_CHANGE = {"workers", "packers"}  # they change no number


@dataclass(frozen=True, kw_only=True)
class Run:
    """Data, system, optimiser, schedule, and all that numbers depend on; written beside its checkpoints."""

    data: Data
    system: LAVTConfig | MagNetConfig | LateFusionConfig | VEGAConfig
    preprocess: Preprocess = field(default_factory=Preprocess)
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    vocabulary: str = PUBLISHED  # that name, a vocab.txt, or `learned` from the training sentences
    start_from: StartFrom = field(default_factory=StartFrom)
    grounding: GroundingConfig | None = None  # guess missing words as well; training only
    precision: Precision = "fp32"
    compiled: bool = False
    seed: int = 0
    workers: int = 2
    description: str = ""


def read_run(folder: Path) -> Run | None:
    """The Run that a folder holds, None where it holds none."""
    path = folder / RUN_FILE
    if not path.exists():
        return None
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}); choose another --out.") from error
    data = plain.get("data") if isinstance(plain, dict) else None
    if isinstance(data, dict) and data.get("type") == "RefCOCOData":
        data["type"] = "StoredData"  # its name while it read nothing else
    return from_dict(Run, plain, f"{path}")


def execute(run: Run, out: Path, *, resume: bool = False, quiet: bool = False) -> Result:
    """Train the run in its folder. A folder of another run, or of this one without `resume`, is refused."""
    is_new = _is_new(run, out, resume)
    if run.compiled:
        check_compiler()
    torch.manual_seed(run.seed)
    system = build(name_of(run.system), run.system)
    if not (out / STATE).exists():  # it holds every weight, and what the run started from may be gone
        start(system, run.start_from)
    training, held = run.data.readers()
    if processes().is_main_process:
        for sentence in leaks(training, held):
            Console(stderr=True).print(f"warning: {sentence}", highlight=False, soft_wrap=True)
    tokenizer = _tokenizer(run, training, out, is_new)
    optimiser = run.optimiser
    if run.grounding is not None:
        system = grounded = ground(system, run.grounding, tokenizer.vocabulary)
        optimiser = optimiser_around(optimiser, grounded)
    return train(
        system,
        Batches(
            reader=training,
            tokenizer=tokenizer,
            preprocess=run.preprocess,
            batch_size=run.schedule.batch_size,
            sentences_per_image=run.data.sentences_per_image,
            every_sentence=run.data.every_sentence,
            seed=run.seed,
            workers=run.workers,
        ),
        optimiser,
        run.schedule,
        out=out,
        publish=_Publisher(run, tokenizer.vocabulary),
        validation=InOrder(
            reader=held,
            tokenizer=tokenizer,
            preprocess=run.preprocess,
            batch_size=max(1, run.schedule.batch_size // run.schedule.accumulate),
            limit=run.data.validation_limit,
            workers=run.workers,
        ),
        preprocess=run.preprocess,
        precision=run.precision,
        seed=run.seed,
        compiled=run.compiled,
        quiet=quiet,
        claim=lambda: _claim(run, out),
    )


@dataclass(frozen=True)
class _Publisher:
    """Writes weights as a checkpoint that `deixis.load` opens."""

    run: Run
    vocabulary: tuple[str, ...]

    def __call__(self, folder: Path, weights: dict[str, Tensor], scores: dict[str, float]) -> None:
        card = native.Card(
            system=name_of(self.run.system),
            config=to_dict(self.run.system),
            preprocess=self.run.preprocess,
            description=self.run.description,
            scores={"training-loop": {"val": scores}} if scores else {},
            run=to_dict(self.run),
        )
        native.save(folder, weights if self.run.grounding is None else ungrounded(weights), card, self.vocabulary)


def _is_new(run: Run, out: Path, resume: bool) -> bool:
    """Whether the folder holds no run yet; one that it holds must be this run, to be resumed."""
    before = read_run(out)
    if before is None and resume:
        raise InputError(f"{out} holds no run to resume; leave --resume away, or give the run's folder by --out.")
    if before is None and (out / STATE).exists():
        raise InputError(f"{out} holds a run's {STATE} but no {RUN_FILE} that says which; choose another --out.")
    if before is not None:
        differences = _differences(to_dict(before), to_dict(run))
        if differences:
            raise InputError(f"{out} holds another run ({'; '.join(differences[:3])}); choose another --out.")
        if not resume:
            raise InputError(f"{out} already holds this run; add --resume to go on, or choose another --out.")
    processes().wait_for_everyone()  # nobody writes before all have looked
    return before is None


def _claim(run: Run, out: Path) -> None:
    """Write `run.json`, once nothing but training is left to fail: a mistyped option must not take the folder."""
    if processes().is_main_process:
        with replaced(out / RUN_FILE) as beside:
            beside.write_text(json.dumps(to_dict(run), indent=1) + "\n", encoding="utf-8")


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name in sorted({*before, *after} - _FREE_TO_CHANGE):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name} is {old} there, {new} here")
    return found


def _tokenizer(run: Run, training: Reader, out: Path, is_new: bool) -> Tokenizer:
    """The run's vocabulary; it stays in the folder, for a resumed run must number words alike."""
    beside_state = out / STATE.with_name(native.VOCABULARY)
    if not is_new and beside_state.exists():
        tokenizer = Tokenizer.from_file(beside_state)
    elif run.vocabulary == LEARNED:
        kept = out / native.VOCABULARY
        with processes().main_process_first():
            if processes().is_main_process and (is_new or not kept.exists()):
                every = max(1, len(training) // LEARNED_FROM)
                sentences = (training[position].expression for position in range(0, len(training), every))
                with replaced(kept) as beside:
                    Tokenizer.learn(sentences, run.system.text.vocabulary).save(beside)
            tokenizer = Tokenizer.from_file(kept)
    else:
        tokenizer = Tokenizer.bert_base(None if run.vocabulary == PUBLISHED else run.vocabulary)
    if len(tokenizer) > run.system.text.vocabulary:
        raise InputError(
            f"The vocabulary has {len(tokenizer)} words, but the text encoder only "
            f"{run.system.text.vocabulary}; raise system.text.vocabulary."
        )
    if run.preprocess.max_tokens > run.system.text.positions:
        raise InputError(
            f"Sentences of {run.preprocess.max_tokens} words are to be read, but the text encoder has "
            f"{run.system.text.positions} positions; lower preprocess.max_tokens or raise system.text.positions."
        )
    return tokenizer
