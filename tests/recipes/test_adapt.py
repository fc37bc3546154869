"""The chain of every method of adaptation, from the source's Run."""

from dataclasses import replace

import pytest

from deixis.errors import InputError
from deixis.objectives.supervised import SupervisedConfig
from deixis.recipes.adapt import METHODS, MODELS, SOURCE, adaptation, oracle, own_source
from deixis.runs.data import StoredData
from deixis.runs.run import Run
from deixis.text.bert import BertConfig
from deixis.text.gru import GRUConfig

LABELLED, UNLABELLED = StoredData(root="labelled"), StoredData(root="unlabelled", labels="none")


@pytest.fixture
def run() -> Run:
    return own_source("sda", LABELLED, UNLABELLED)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_starts_from_a_source_that_has_not_seen_the_target(method: str, run: Run) -> None:
    source, *later = adaptation(method, run).runs.items()
    assert source == (SOURCE, run)
    assert isinstance(run.objective, SupervisedConfig)
    assert later
    assert all(each.target == UNLABELLED or each.data == UNLABELLED for _, each in later)
    assert later[-1][1].start_from.checkpoint in {SOURCE, *(name for name, _ in later)}


def test_a_single_run_of_a_method_is_half_as_long_again_and_takes_over_the_rest(run: Run) -> None:
    _, after = adaptation("mmd", replace(run, seed=5)).runs.values()
    assert after.schedule.steps == 3_000
    assert (after.seed, after.system, after.mask_rule) == (5, run.system, run.mask_rule)
    by_epochs = replace(run, schedule=replace(run.schedule, steps=None, epochs=20))
    assert adaptation("mmd", by_epochs).runs["mmd"].schedule.total(steps_per_epoch=7) == 30 * 7


def test_the_oracle_is_the_same_run_on_the_targets_masks(run: Run) -> None:
    found = oracle(run)
    assert found.data == replace(UNLABELLED, labels="masks")
    assert found.target is None
    assert replace(found, data=LABELLED, target=UNLABELLED) == run


def test_a_run_without_target_and_an_unknown_method_are_refused(run: Run) -> None:
    with pytest.raises(InputError, match="no target domain to adapt to"):
        adaptation("mmd", replace(run, target=None))
    with pytest.raises(InputError, match="no target domain to be trained on"):
        oracle(replace(run, target=None))
    with pytest.raises(InputError, match=r"There is no method 'dan'. Did you mean 'dann'"):
        adaptation("dan", run)


@pytest.mark.parametrize("model", MODELS)
def test_the_models_read_words_that_are_learned_and_need_no_file(model: str) -> None:
    run = own_source(model, LABELLED, UNLABELLED)
    assert (run.vocabulary, run.schedule.batch_size) == ("learned", 8)
    assert run.start_from.checkpoint in {None, "bundled"}
    text = run.system.text  # type: ignore[attr-defined]
    assert isinstance(text, BertConfig | GRUConfig)
    assert text.vocabulary >= 4000


def test_a_published_resnet_gives_sda_the_papers_size() -> None:
    run = own_source("sda", LABELLED, UNLABELLED, is_published=True)
    assert run.system.vision.depths == (3, 4, 23, 3)  # type: ignore[attr-defined]
