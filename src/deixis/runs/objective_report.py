"""What an objective reports at the end of its run, as files in the run's folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import replaced
from ..system import RunReport

FOLDER, FACTS = "report", "report.json"


@dataclass(frozen=True, kw_only=True)
class StoredReport:
    """A report in a run's folder: its facts, and the files of its pictures by their titles."""

    facts: Mapping[str, Any]
    pictures: Mapping[str, Path]


def write_report(out: Path, report: RunReport) -> None:
    """The pictures first, so that the facts name none that is missing."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    names = {title: f"{number}.png" for number, title in enumerate(report.pictures, start=1)}
    for title, pixels in report.pictures.items():
        with replaced(folder / names[title]) as beside:
            Image.fromarray(pixels).save(beside, format="PNG")
    with replaced(folder / FACTS) as beside:
        plain = {"facts": dict(report.facts), "pictures": names}
        beside.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def read_report(out: Path) -> StoredReport | None:
    """The report in a run's folder, None where its objective has none."""
    file = out / FOLDER / FACTS
    if not file.exists():
        return None
    plain = json.loads(file.read_bytes())
    pictures = {title: out / FOLDER / name for title, name in plain["pictures"].items()}
    return StoredReport(facts=plain["facts"], pictures=pictures)
