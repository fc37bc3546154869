"""Rename the published weights of SaG to ours; blocks that the iterations share have one name for each of them."""

from collections.abc import Mapping

from torch import Tensor

from .renaming import Rules, Weights, bert_rules, rename

IMAGE = r"encoders\.img_enc\."
VISION = IMAGE + r"img_backbone\."
DISCOVERY = IMAGE + r"set_pred_module\.agg\."
BLOCK = DISCOVERY + r"agg_blocks\.\d+\."


def _attention(published: str, ours: str) -> Rules:
    return (
        (rf"{published}fn\.to_q\.weight", f"{ours}.attention.query.weight"),
        (rf"{published}fn\.to_k\.weight", f"{ours}.attention.key.weight"),
        (rf"{published}fn\.to_v\.weight", f"{ours}.attention.value.weight"),
        (rf"{published}fn\.to_out\.0\.(weight|bias)", rf"{ours}.attention.output.\1"),
        (rf"{published}norm\.(weight|bias)", rf"{ours}.norm.\1"),
        (rf"{published}norm_context\.(weight|bias)", rf"{ours}.context_norm.\1"),
    )


def _feed_forward(published: str, ours: str) -> Rules:
    return (
        (rf"{published}fn\.net\.0\.(weight|bias)", rf"{ours}.feed_forward.hidden.\1"),
        (rf"{published}fn\.net\.3\.(weight|bias)", rf"{ours}.feed_forward.output.\1"),
        (rf"{published}norm\.(weight|bias)", rf"{ours}.feed_forward.norm.\1"),
    )


RULES: Rules = (
    (VISION + r"head\..+", None),
    (VISION + r"(.+)", r"vision.\1"),
    (IMAGE + r"spm_1x1\.(weight|bias)", r"patches.\1"),
    (IMAGE + r"set_pred_module\.residual_norm\.(weight|bias)", r"discovery.norm.\1"),
    (IMAGE + r"(set_pred_module\.fc|residual_fc)\.(weight|bias)", None),  # not used by the published code
    (DISCOVERY + r"queries\.(slots_mu|slots_log_sigma|params)", r"discovery.start.\1"),
    *_attention(BLOCK + r"0\.", "discovery.aggregation"),
    *_feed_forward(BLOCK + r"2\.", "discovery.aggregation"),
    *_attention(BLOCK + r"4\.0\.0\.", "discovery.interaction"),
    *_feed_forward(BLOCK + r"4\.0\.2\.", "discovery.interaction"),
    (DISCOVERY + r"last_layer\.1\.(weight|bias)", r"discovery.output.\1"),
    (r"encoders\.txt_enc\.linear\.(weight|bias)", r"sentence.\1"),
    *bert_rules(r"encoders\.txt_enc\.bert"),
    *_attention(r"cma\.attn\.", "fusion"),
    *_feed_forward(r"cma\.ff\.", "fusion"),
    (r"decoder\.pos_emb\.row_embed\.weight", "decoder.rows"),
    (r"decoder\.pos_emb\.col_embed\.weight", "decoder.columns"),
    (r"decoder\.mlp\.(\d)\.(weight|bias)", r"decoder.mlp.\1.\2"),
)


def rename_sag(official: Mapping[str, Tensor]) -> tuple[Weights, list[str]]:
    """The weights by our names, and the names that SaG does not have. Of a shared block the last name counts."""
    return rename(official, RULES, convolutions=".*")
