"""Rename published weights to ours: the rules that the readers of official checkpoints share."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

Weights = dict[str, Tensor]
Rules = Sequence[tuple[str, str | None]]  # pattern of published names -> ours; None: without effect on any output

BERT_LAYER = (
    *(f"attention.self.{part}" for part in ("query", "key", "value")),
    *("attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
)
BERT_EMBEDDINGS = (
    *("word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight"),
    *("LayerNorm.weight", "LayerNorm.bias"),
)
GROUP = re.compile(r"\((?:[^()]|\([^()]*\))*\)")  # in a rule's pattern; may contain one more level of groups
REFERENCE = re.compile(r"\\(?:g<end>|\d)")  # to a group, in our name
SWIN_BLOCK = ("attention_norm", "attention.qkv", "attention.projection", "mlp_norm", "mlp.0", "mlp.2")


def swin_rules(place: str) -> list[tuple[str, str | None]]:
    """Rules for the Swin under the published prefix `place`; ours is `fusion.vision`."""
    block = rf"{place}\.layers\.(\d)\.blocks\.(\d+)\."
    ours = r"fusion.vision.stages.\1.\2."
    return [
        (rf"{place}\.patch_embed\.proj\.(weight|bias)", r"fusion.vision.patches.projection.\1"),
        (rf"{place}\.patch_embed\.norm\.(weight|bias)", r"fusion.vision.patches.norm.\1"),
        (rf"{block}norm1\.(.+)", rf"{ours}attention_norm.\3"),
        (rf"{block}norm2\.(.+)", rf"{ours}mlp_norm.\3"),
        (rf"{block}attn\.relative_position_index", None),
        (rf"{block}attn\.relative_position_bias_table", rf"{ours}attention.position_bias"),
        (rf"{block}attn\.qkv\.(.+)", rf"{ours}attention.qkv.\3"),
        (rf"{block}attn\.proj\.(.+)", rf"{ours}attention.projection.\3"),
        (rf"{block}mlp\.fc1\.(.+)", rf"{ours}mlp.0.\3"),
        (rf"{block}mlp\.fc2\.(.+)", rf"{ours}mlp.2.\3"),
        (rf"{place}\.layers\.(\d)\.downsample\.(.+)", r"fusion.vision.mergers.\1.\2"),
    ]


def swin_names(official: Iterable[str], place: str) -> set[str]:
    """Our names of every weight of a Swin with as many blocks as the file has under `place`."""
    linear = ("weight", "bias")
    names = {f"fusion.vision.patches.{part}.{of}" for part in ("projection", "norm") for of in linear}
    for stage, depth in enumerate(depths(official, place)):
        for number in range(depth):
            block = f"fusion.vision.stages.{stage}.{number}"
            names |= {f"{block}.attention.position_bias"}
            names |= {f"{block}.{part}.{of}" for part in SWIN_BLOCK for of in linear}
    merger = ("norm.weight", "norm.bias", "reduction.weight")
    return names | {f"fusion.vision.mergers.{stage}.{part}" for stage in range(3) for part in merger}


def bert_rules(place: str) -> list[tuple[str, str | None]]:
    """Rules for the BERT under the published prefix `place`; ours is `text`. The pooler is not used."""
    return [
        (rf"{place}\.pooler\..+", None),
        (rf"{place}\.embeddings\.position_ids", None),
        (rf"{place}\.((?:embeddings|encoder)\..+)", r"text.bert.\1"),
    ]


def bert_names(official: Iterable[str], place: str) -> set[str]:
    """Our names of every weight of a BERT with as many layers as the file has under `place`."""
    names = {f"text.bert.embeddings.{part}" for part in BERT_EMBEDDINGS}
    for number in range(count(official, _layer(place))):
        names |= {f"text.bert.encoder.layer.{number}.{part}.{of}" for part in BERT_LAYER for of in ("weight", "bias")}
    return names


def depths(official: Iterable[str], place: str) -> list[int]:
    """The number of blocks in each stage of the Swin under `place`."""
    return [count(official, rf"{place}\.layers\.{stage}\.blocks\.(\d+)\.") for stage in range(4)]


def swin_config(official: Mapping[str, Tensor], place: str) -> dict[str, object]:
    """The fields of the config of the Swin under `place`, from shapes."""
    table = f"{place}.layers.{{}}.blocks.0.attn.relative_position_bias_table"
    cells, _ = official[table.format(0)].shape
    return {
        "embed_dim": first_of(4, official[f"{place}.patch_embed.proj.weight"]),
        "depths": depths(official, place),
        "heads": [official[table.format(stage)].shape[1] for stage in range(4)],
        "window": (math.isqrt(cells) + 1) // 2,
    }


def bert_config(official: Mapping[str, Tensor], place: str) -> dict[str, object]:
    """The fields of the config of the BERT under `place`, from shapes."""
    vocabulary, width = official[f"{place}.embeddings.word_embeddings.weight"].shape
    return {
        "layers": count(official, _layer(place)),
        "width": width,
        "heads": max(1, width // 64),  # as in every published BERT
        "feed_forward": first_of(2, official[f"{place}.encoder.layer.0.intermediate.dense.weight"]),
        "vocabulary": vocabulary,
        "positions": first_of(2, official[f"{place}.embeddings.position_embeddings.weight"]),
    }


def first_of(num_axes: int, tensor: Tensor) -> int:
    """The length of the first axis. Raises ValueError if the tensor has not `num_axes` axes or is empty.

    A network built from a wrong length may not fit into memory.
    """
    if tensor.ndim != num_axes or not tensor.numel():
        raise ValueError(f"got {list(tensor.shape)}, expected {num_axes} axes")
    return tensor.shape[0]


def rename(official: Mapping[str, Tensor], rules: Rules, convolutions: str | None = None) -> tuple[Weights, list[str]]:
    """The weights by our names and in our shapes, and the names that match no rule.

    Convolutions over one cell or one patch are linear layers in our code; those that match the pattern `convolutions`
    keep their shape.
    """
    ours: Weights = {}
    unknown: list[str] = []
    for name, tensor in official.items():
        for pattern, ours_name in rules:
            if match := re.fullmatch(pattern, name):
                if ours_name is not None:
                    stays = tensor.ndim < 3 or (convolutions is not None and re.match(convolutions, name))
                    ours[match.expand(ours_name)] = tensor if stays else tensor.flatten(1)
                break
        else:
            unknown.append(name)
    return ours, unknown


def published_name(ours: str, rules: Rules) -> str:
    """The published name of one of our weights; our own name if no rule produces it."""
    for pattern, template in rules:
        if template is None:
            continue
        groups = GROUP.findall(pattern)
        used = [_group(reference, groups) for reference in REFERENCE.findall(template)]
        literals = [re.escape(part) for part in REFERENCE.split(template)]
        reverse = literals[0] + "".join(groups[at] + after for at, after in zip(used, literals[1:], strict=True))
        if match := re.fullmatch(reverse, ours):
            values = [text for _, text in sorted(zip(used, match.groups(), strict=True))]
            between = [part.replace("\\.", ".") for part in GROUP.split(pattern)]
            return between[0] + "".join(value + after for value, after in zip(values, between[1:], strict=True))
    return ours


def _group(reference: str, groups: Sequence[str]) -> int:
    """The position of the group that `\\2`, or `\\g<end>`, refers to."""
    if reference[1:].isdigit():
        return int(reference[1:]) - 1
    return next(at for at, group in enumerate(groups) if "?P<end>" in group)


def count(names: Iterable[str], pattern: str) -> int:
    """One more than the highest number that the pattern's group matches, at most the number of matching names."""
    found = [match[1] for name in names if (match := re.match(pattern, name))]
    # A higher number means that blocks before it are missing; the limit keeps their list short.
    return min(1 + max((int(number[:18]) for number in found), default=-1), len(found))


def some(names: Iterable[str], limit: int = 4) -> str:
    """The first names in alphabetical order, and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return (", ".join(listed[:limit]) or "nothing") + more


def _layer(place: str) -> str:
    return rf"{place}\.encoder\.layer\.(\d+)\."
