"""A labelling config: which control asks for regions of which image, and where the sentence is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ...errors import InputError

Kind = Literal["brush", "polygon", "rectangle"]
CONTROLS: dict[str, Kind] = {
    "BrushLabels": "brush",
    "Brush": "brush",
    "PolygonLabels": "polygon",
    "Polygon": "polygon",
    "RectangleLabels": "rectangle",
    "Rectangle": "rectangle",
}
SENTENCE_FIELDS = ("sentence", "expression", "text", "caption")


@dataclass(frozen=True, kw_only=True)
class Control:
    """What a region must name: its kind, the control and the image that it belongs to, and the labels."""

    kind: Kind
    from_name: str
    to_name: str
    image_field: str  # of a task's data
    labels: Mapping[str, tuple[str, ...]]  # with the words that stand for each

    def label_for(self, sentence: str) -> str | None:
        """The label whose name or whose `predicted_values` are in the sentence, else the first; None without labels."""
        words = f" {' '.join(sentence.lower().split())} "
        for label, names in self.labels.items():
            if any(f" {name.lower()} " in words for name in (label, *names)):
                return label
        return next(iter(self.labels), None)


def control_of(config: str) -> Control:
    """The first brush, else polygon, else rectangle. Raises `InputError` where there is none."""
    try:
        root = fromstring(config, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise InputError(f"The labelling config is not readable XML ({error}); expected <View>…</View>.") from None
    images = {tag.get("name"): tag for tag in root.iter("Image")}
    found = [tag for kind in CONTROLS for tag in root.iter(kind) if tag.get("toName") in images]
    if not found:
        raise InputError(
            "The labelling config has no BrushLabels, PolygonLabels or RectangleLabels for an Image; add one of them."
        )
    control = found[0]
    image = images[control.get("toName")]
    return Control(
        kind=CONTROLS[control.tag],
        from_name=control.get("name", ""),
        to_name=control.get("toName", ""),
        image_field=(image.get("value") or "$image").lstrip("$"),
        labels={name: _other_names(label) for label in control.iter("Label") if (name := label.get("value"))},
    )


def sentences_of(task: Mapping[str, Any], context: Any, field: str | None = None) -> list[str]:
    """What was typed last where somebody is asking now, else the sentences in the task's data; empty without any."""
    if context:
        results = context.get("result", []) if isinstance(context, dict) else []
        typed = [one for one in results if isinstance(one, dict) and one.get("type") == "textarea"]
        texts = [text for one in typed for text in _listed(one.get("value", {}).get("text"))]
        return texts[-1:]
    data = task.get("data", {})
    names: Sequence[str] = (field,) if field else SENTENCE_FIELDS
    return next((_listed(data[name]) for name in names if data.get(name)), [])


def _listed(value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _other_names(label: Element) -> tuple[str, ...]:
    names = (label.get("predicted_values") or "").split(",")
    return tuple(name.strip() for name in names if name.strip())
