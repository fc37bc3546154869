"""What `deixis data` prints: the table of a data set's splits, and what two data sets share."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..data.tools.leakage import Audit
    from ..data.tools.statistics import SplitFacts, Spread

_LISTED = 20  # shared images


def print_facts(title: str, facts: "Mapping[str, SplitFacts]", completeness: str) -> None:
    """One row a split, at most 80 columns wide."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    some_lack = any(one.with_empty_mask or one.without_mask for one in facts.values())
    spreads = "Words and areas: smallest/median/largest."
    caption = f"{spreads} Empty, no mask: share of the samples." if some_lack else spreads
    table = Table(title=title, caption=f"{caption}\n{completeness}".strip(), box=SIMPLE_HEAD, pad_edge=False)
    table.collapse_padding = True
    first = "videos" if any(one.of_videos for one in facts.values()) else "images"
    headings = ["split", first, "objects", "sentences", "words per\nsentence", "mask area,\n% of photo"]
    for heading in [*headings, "empty\nmask", "no\nmask"] if some_lack else headings:
        is_first = heading == "split"
        table.add_column(
            heading,
            justify="left" if is_first else "right",
            no_wrap=not is_first,
            overflow="fold",
            min_width=len("split"),
            vertical="bottom",
        )
    for split, one in facts.items():
        counts = (f"{number:,}" for number in (one.images, one.objects, one.expressions))
        share = 100 / max(1, one.looked_at)
        rest = (f"{one.with_empty_mask * share:.0f}%", f"{one.without_mask * share:.0f}%") if some_lack else ()
        table.add_row(split, *counts, _spread(one.words, 1.0, 0), _spread(one.mask_shares, 100.0, 1), *rest)
    console = Console()
    console.print(table, width=min(console.width, 80))


def _spread(spread: "Spread | None", factor: float, digits: int) -> str:
    """Smallest, median and largest."""
    if spread is None:
        return "-"
    values = (spread.smallest, spread.median, spread.largest)
    return "/".join(f"{factor * value:.{digits}f}" for value in values)


def print_audit(first: str, second: str, found: "Audit") -> None:
    """One line for the two splits, and one for each of the first shared images."""
    from ..data.validation import counted

    how = "ids and looks" if found.compared_looks else "ids"
    images = counted(found.leaked_images, "image", "images")
    sentences = f"{found.leaked_sentences:,} of {counted(found.second_sentences, 'sentence', 'sentences')}"
    sizes = [counted(number, "image", "images") for number in (found.first_images, found.second_images)]
    print(f"{first} ({sizes[0]}) against {second} ({sizes[1]}), by {how}: {images} and {sentences} are in both")
    for one in found.shared[:_LISTED]:
        near = f", {one.distance} of 128 bits differ" if one.match == "looks" else ""
        about = counted(one.sentences, "sentence", "sentences")
        print(f"  {one.first} = {one.second} (by {one.match}{near}; {about})")
    if len(found.shared) > _LISTED:
        print(f"  … and {len(found.shared) - _LISTED:,} more; --json lists all")


def audit_as_json(found: "Audit") -> dict[str, Any]:
    return {
        "train_images": found.first_images,
        "test_images": found.second_images,
        "test_sentences": found.second_sentences,
        "shared_images": found.leaked_images,
        "shared_sentences": found.leaked_sentences,
        "compared_looks": found.compared_looks,
        "shared": [
            {
                "train_image": one.first,
                "test_image": one.second,
                "match": one.match,
                "sentences": one.sentences,
                "distance": one.distance,
            }
            for one in found.shared
        ],
    }
