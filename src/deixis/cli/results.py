"""Results as tables for a terminal."""

from rich.console import Console
from rich.table import Table

from ..evaluation.comparison import Difference
from ..evaluation.report import Result
from ..metrics.presence import PresenceScores


def show_result(result: Result, console: Console, *, breakdowns: bool = True) -> None:
    """Print what was scored and how, every total with its interval, and the breakdowns."""
    table = Table(title=f"{result.model} on {result.dataset} {result.split}, protocol {result.protocol}")
    table.add_column("measure")
    table.add_column("%", justify="right")
    table.add_column("95% interval", justify="right")
    for name, estimate in result.measures.items():
        table.add_row(name, _number(estimate.value), _interval(estimate.low, estimate.high))
    broken = f", broken records left out: {len(result.broken):,}" if result.broken else ""
    missing = f", {result.num_missing:,} without a mask counted as empty" if result.num_missing else ""
    table.caption = (
        f"{result.num_expressions:,} expressions of {result.num_objects:,} objects in {result.num_images:,} images"
        f"{missing}{broken}; {result.wall_seconds:,.1f} s{_computed(result)}{_threshold(result)}"
    )
    console.print(table)
    if result.presence is not None:
        console.print(_presence_table(result.presence))
    if breakdowns and result.breakdowns:
        console.print(_breakdown_table(result))


def show_differences(first: str, second: str, differences: dict[str, Difference], console: Console) -> None:
    """Print the difference of every measure with its interval."""
    table = Table(title=f"{first} minus {second}", caption="paired bootstrap over images")
    for heading in ("measure", first, second, "difference", "95% interval", "p"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for name, one in differences.items():
        span = f"{one.low:+.2f} … {one.high:+.2f}" if one.low is not None and one.high is not None else "-"
        signed = f"{one.difference:+.2f}" if one.difference is not None else "-"
        p = "-" if one.p is None else f"{one.p:.4f}"
        table.add_row(name, _number(one.first), _number(one.second), signed, span, p)
    console.print(table)
    for name in [name for name in ("mIoU", "oIoU") if name in differences] or list(differences)[:1]:
        console.print(verdict(first, second, name, differences[name]), highlight=False, soft_wrap=True)


def verdict(first: str, second: str, measure: str, found: Difference) -> str:
    """Which of two results is better by a measure, in words; a difference whose interval contains 0 is not a proof."""
    if found.difference is None:
        return f"{measure}: nothing to compare, since one of the two has no value."
    if found.difference == 0:
        return f"{measure}: {first} and {second} are equal."
    better, worse = (first, second) if found.difference > 0 else (second, first)
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return (
            f"{measure}: {better} is {abs(found.difference):.2f} points above {worse}, but the interval contains 0: "
            "these data do not show which is better."
        )
    return f"{measure}: {better} is better than {worse} by {abs(found.difference):.2f} points."


def _presence_table(presence: PresenceScores) -> Table:
    """Accuracy on expressions with and without a referent, and the calibration of the score."""
    table = Table(title="presence of the referent")
    for heading in ("expressions that refer to", "number", "right, %", "95% interval"):
        table.add_column(heading, justify="left" if table.columns == [] else "right")
    for referent, number, right, span in (
        ("nothing (N-acc)", presence.num_absent, presence.n_acc, presence.n_acc_interval),
        ("something (T-acc)", presence.num_present, presence.t_acc, presence.t_acc_interval),
    ):
        table.add_row(referent, f"{number:,}", _number(right), _interval(*(span or (None, None))))
    both = presence.num_absent + presence.num_present
    for measure, value, span in (
        ("either: MCC, -1 to 1", presence.mcc, presence.mcc_interval),
        ("either: AUROC of the score, 0 to 1", presence.auroc, presence.auroc_interval),
    ):
        table.add_row(measure, f"{both:,}", _number(value), _interval(*(span or (None, None))))
    above = "" if presence.threshold is None else f", present above {presence.threshold:g}"
    how = "calibrated" if presence.calibrated else "not calibrated"
    table.caption = f"score by the {presence.score}, {how}{above}; calibration error {presence.ece:.3f}"
    return table


def _breakdown_table(result: Result) -> Table:
    table = Table(title="breakdowns")
    table.add_column("by")
    table.add_column("group")
    table.add_column("expressions", justify="right")
    shown = list(result.measures)[:3]  # overall, mean and the first threshold, which fit a terminal
    for name in shown:
        table.add_column(name, justify="right")
    for axis, groups in result.breakdowns.items():
        for place, (name, group) in enumerate(groups.items()):
            numbers = [_number(group.measures[measure].value) for measure in shown]
            table.add_row(axis if place == 0 else "", name, f"{group.num_expressions:,}", *numbers)
    return table


def _computed(result: Result) -> str:
    if result.computed is None:
        return ""
    compiled = ", compiled" if result.computed["compiled"] else ""
    refined = ", refined by a CRF" if "refine" in result.computed else ""
    changed = "".join(f", {name}={value}" for name, value in result.computed.get("settings", {}).items())
    return f" in {result.computed['dtype']} on {result.computed['device']}{compiled}{refined}{changed}"


def _threshold(result: Result) -> str:
    if not result.threshold_chosen_on:
        return ""
    return f"; threshold {result.threshold:g} chosen on labels of {result.threshold_chosen_on}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.2f} … {high:.2f}"
