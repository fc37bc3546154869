"""What an objective reports: written at the end of its run, and read again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from deixis.runs.objective_report import read_report, write_report
from deixis.system import RunReport


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_report(tmp_path) is None
    pixels = np.random.default_rng(0).integers(0, 255, (8, 6, 3), dtype=np.uint8)
    write_report(tmp_path, RunReport(facts={"categories": 3}, pictures={"category 1: a/cup": pixels}))
    found = read_report(tmp_path)
    assert found is not None
    assert found.facts == {"categories": 3}
    assert np.array_equal(np.asarray(Image.open(found.pictures["category 1: a/cup"])), pixels)
    write_report(tmp_path, RunReport(facts={"categories": 4}))
    assert read_report(tmp_path) == replace(found, facts={"categories": 4}, pictures={})
