"""From published names to ours: the rules that the readers of official checkpoints share."""

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

Weights = dict[str, Tensor]
Rules = Sequence[tuple[str, str | None]]  # official name -> ours; None names what has no effect on any output

BERT_LAYER = (
    *(f"attention.self.{part}" for part in ("query", "key", "value")),
    *("attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
)
BERT_EMBEDDINGS = (
    *("word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight"),
    *("LayerNorm.weight", "LayerNorm.bias"),
)
SWIN_BLOCK = ("attention_norm", "attention.qkv", "attention.projection", "mlp_norm", "mlp.0", "mlp.2")


def swin_rules(place: str) -> list[tuple[str, str | None]]:
    """Swin under the official name `place` to ours under `fusion.vision`."""
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


def swin_names(depths: Sequence[int]) -> set[str]:
    """Every weight of a Swin, by our names."""
    linear = ("weight", "bias")
    names = {f"fusion.vision.patches.{part}.{of}" for part in ("projection", "norm") for of in linear}
    for stage, depth in enumerate(depths):
        for number in range(depth):
            place = f"fusion.vision.stages.{stage}.{number}"
            names |= {
                f"{place}.attention.position_bias",
                *(f"{place}.{part}.{of}" for part in SWIN_BLOCK for of in linear),
            }
    merger = ("norm.weight", "norm.bias", "reduction.weight")
    return names | {f"fusion.vision.mergers.{stage}.{part}" for stage in range(3) for part in merger}


def bert_names(layers: int) -> set[str]:
    """Every weight of a BERT without pooler, by our names."""
    names = {f"text.bert.embeddings.{part}" for part in BERT_EMBEDDINGS}
    for number in range(layers):
        names |= {f"text.bert.encoder.layer.{number}.{part}.{of}" for part in BERT_LAYER for of in ("weight", "bias")}
    return names


def rename(official: Mapping[str, Tensor], rules: Rules, convolutions: str | None = None) -> tuple[Weights, list[str]]:
    """Our names and shapes, and the names that no rule knows.

    Convolutions over one cell or one patch are linear layers of ours; those that the pattern `convolutions` names stay.
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


def count(names: Iterable[str], pattern: str) -> int:
    """One more than the highest number that the pattern's group finds."""
    return 1 + max((int(match[1]) for name in names if (match := re.match(pattern, name))), default=-1)


def some(names: Iterable[str], limit: int = 4) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return (", ".join(listed[:limit]) or "nothing") + more
