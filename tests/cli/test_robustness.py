"""`deixis evaluate --perturb`: every kind beside the sentences as they are."""

import json

import pytest

from deixis.cli import main

COMMAND = ["evaluate", "bundled", "--data", "toyland:val", "--scenes", "4", "--limit", "12", "--quiet", "--draws", "50"]


def test_kinds_are_scored_against_the_clean_sentences(tmp_path, capsys) -> None:
    command = [*COMMAND, "--out", str(tmp_path), "--perturb", "drop-vowels,shuffle"]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["kinds"]) == {"drop-vowels", "shuffle"}
    clean = json.loads((tmp_path / "bundled-toyland-val-full.json").read_text())
    found = report["kinds"]["drop-vowels"]["differences"]["mIoU"]
    assert found["second"] == clean["measures"]["mIoU"]["value"]
    assert found["difference"] == pytest.approx(found["first"] - found["second"])
    assert found["low"] <= found["difference"] <= found["high"]
    assert report["kinds"]["shuffle"]["changed"] == 12
    lines = (tmp_path / "bundled-toyland-val+shuffle-full.sentences.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert sorted(first["original"].split()) == sorted(first["perturbed"].split())
    assert len(lines) == 12
    before = (tmp_path / "bundled-toyland-val+shuffle-full.json").stat().st_mtime_ns
    assert main([*command, "--resume"]) == 0  # scores nothing again
    assert (tmp_path / "bundled-toyland-val+shuffle-full.json").stat().st_mtime_ns == before
    printed = capsys.readouterr().out
    assert "as they are" in printed
    assert "drop-vowels" in printed


@pytest.mark.parametrize(
    ("added", "named"),
    [
        (["--perturb", "typos"], "typo"),
        (["--perturb", "typo", "--sweep-threshold"], "--sweep-threshold"),
        (["--perturb", "typo", "--out", "here.json"], "FILE.json"),
    ],
)
def test_options_that_do_not_fit_are_refused(added, named, capsys) -> None:
    assert main([*COMMAND, *added]) == 2
    assert named in capsys.readouterr().err
