"""What categories were found: for each a contact sheet with examples of both domains, and its words (PNG and JSON)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from PIL import Image

from ...data.tools.contact_sheet import Panel, contact_sheet
from ...files import replaced
from ...system import RunReport
from .construction import Construction, DomainContents

FOLDER, FILE = "categories", "categories.json"
EXAMPLES, WORDS, SHEETS, PAGE = 6, 8, 200, 12


def write_report(construction: Construction, vocabulary: Sequence[str], folder: Path) -> None:
    """`categories.json` and, for the 200 largest categories, `categories/NNN.png` with examples of both domains.

    A category is `shared`, of the `source` alone, or `new`. Its words are those with the largest sum of weights α̃.
    """
    structure = construction.structure
    described = [_described(construction, number, vocabulary) for number in range(structure.num_categories)]
    largest = sorted(described, key=lambda each: -(each["source_samples"] + each["target_samples"]))[:SHEETS]
    for each in largest:
        panels = _panels(construction, each["category"])
        if panels:
            each["picture"] = f"{FOLDER}/{each['category']:03}.png"
            with replaced(folder / each["picture"]) as beside:
                contact_sheet(panels, columns=EXAMPLES, side=160).save(beside, "PNG")
    page = {
        "common_fraction": construction.common_fraction,
        "source_categories": structure.num_source,
        "shared_categories": len(structure.common),
        "new_categories": structure.num_new,
        "categories": described,
    }
    with replaced(folder / FILE) as beside:
        beside.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def summary(construction: Construction) -> str:
    """One sentence with the fraction of common targets."""
    structure = construction.structure
    return (
        f"{100 * construction.common_fraction:.1f} % of the target's {len(structure.target_keys):,} sentences share "
        f"{len(structure.common)} of the source's {structure.num_source} categories; the others form "
        f"{structure.num_new} new ones."
    )


def run_report(folder: Path) -> RunReport:
    """What `write_report` wrote, for the page of an adaptation: counts, and the sheets of the largest categories."""
    page = json.loads((folder / FILE).read_bytes())
    facts = {name: value for name, value in page.items() if name != "categories"}
    shown = [each for each in page["categories"] if "picture" in each]
    shown.sort(key=lambda each: -(each["source_samples"] + each["target_samples"]))
    pictures = {}
    for each in shown[:PAGE]:
        words = ", ".join(list(each["source_words"] or each["target_words"])[:4])
        title = f"category {each['category']} ({each['kind']}): {words}"
        pictures[title] = np.array(Image.open(folder / each["picture"]).convert("RGB"))
    return RunReport(facts=facts, pictures=pictures)


def category_words(
    domain: DomainContents, labels: Int64[np.ndarray, " n"], category: int, vocabulary: Sequence[str]
) -> dict[str, float]:
    """The words with the largest sums of weights in the category, each with its fraction of all weight."""
    chosen = labels == category
    sums = np.bincount(
        domain.word_ids[chosen].ravel(), weights=domain.word_weights[chosen].ravel(), minlength=len(vocabulary)
    )
    best = np.argsort(-sums, kind="stable")[:WORDS]
    total = max(float(sums.sum()), 1e-12)
    names = {int(number): vocabulary[number] if number < len(vocabulary) else str(number) for number in best}
    return {names[int(number)]: round(float(sums[number]) / total, 4) for number in best if sums[number] > 0}


def _described(construction: Construction, category: int, vocabulary: Sequence[str]) -> dict[str, Any]:
    structure = construction.structure
    kind = "new" if category >= structure.num_source else "shared" if category in structure.common else "source"
    sides = (
        ("source", construction.source, structure.source_labels),
        ("target", construction.target, structure.target_labels),
    )
    described: dict[str, Any] = {"category": category, "kind": kind}
    for name, domain, labels in sides:
        members = np.flatnonzero(labels == category)
        described[f"{name}_samples"] = len(members)
        described[f"{name}_words"] = category_words(domain, labels, category, vocabulary)
        described[f"{name}_expressions"] = [domain.expressions[number] for number in members[:EXAMPLES]]
    return described


def _panels(construction: Construction, category: int) -> list[Panel]:
    structure = construction.structure
    sides = (
        ("source", construction.source, structure.source_labels),
        ("target", construction.target, structure.target_labels),
    )
    panels: list[Panel] = []
    for name, domain, labels in sides:
        numbers = [number for number in domain.thumbnails if labels[number] == category][:EXAMPLES]
        for number in numbers:
            picture = domain.thumbnails[number]
            panels.append(Panel(picture.pixels, f"{name}: {picture.expression}", picture.mask, outlined=True))
    return panels
