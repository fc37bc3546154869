"""The table of protocols follows the papers, and impossible rules are refused."""

import pytest

from deixis.errors import DeixisError
from deixis.metrics.protocols import PROTOCOLS, ScoringProtocol, protocol_named


def test_every_protocol_is_listed_under_its_own_name() -> None:
    assert {name: rules.name for name, rules in PROTOCOLS.items()} == {name: name for name in PROTOCOLS}
    assert set(PROTOCOLS) == {
        "lavt-480",
        "full",
        "weak",
        "labelled-threshold",
        "a2d-best",
        "a2d-all",
        "rvos",
        "ref-davis",
        "ref-davis-fixed",
        "grefcoco",
    }


def test_each_protocol_prints_the_totals_of_its_papers() -> None:
    names = {name: [measure.name for measure in rules.measures] for name, rules in PROTOCOLS.items()}
    precisions = ["P@0.5", "P@0.6", "P@0.7", "P@0.8", "P@0.9"]
    for protocol in ("full", "lavt-480", "a2d-best", "a2d-all"):
        assert names[protocol] == ["oIoU", "mIoU", *precisions]
    assert names["weak"] == names["labelled-threshold"] == ["oIoU", "mIoU", "A@0.3", "A@0.5", "A@0.7"]
    assert names["grefcoco"] == ["cIoU", "gIoU", "Pr@0.7", "Pr@0.8", "Pr@0.9", "N-acc", "T-acc"]


def test_a_mistyped_protocol_gets_the_nearest_name() -> None:
    with pytest.raises(DeixisError, match="Did you mean 'lavt-480'"):
        protocol_named("lavt480")


@pytest.mark.parametrize(
    "wrong", [{"thresholds": (0.0,)}, {"thresholds": (1.5,)}, {"size": 0}, {"all_answers": True}], ids=str
)
def test_impossible_rules_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"threshold|compared|average_precision"):
        ScoringProtocol(name="x", summary="", **wrong)  # type: ignore[arg-type]
