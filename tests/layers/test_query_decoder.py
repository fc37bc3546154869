"""The masked-attention decoder for one query against PyTorch's own attention, and which cells its query attends to."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.layers.pixel_decoder import sines
from deixis.layers.query_decoder import MaskedAttention, QueryDecoder, QueryLayer, inside

SIZES = [(2, 2), (3, 4), (6, 5)]


def build(layers: int = 4) -> QueryDecoder:
    torch.manual_seed(0)
    return QueryDecoder(16, 12, heads=2, layers=layers, feed_forward=24).eval()


def given() -> tuple[list[Tensor], Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(3, *size, 16, generator=draw) for size in SIZES], torch.randn(3, 12, 10, 12, generator=draw)


def reference(layer: MaskedAttention) -> nn.MultiheadAttention:
    """PyTorch's attention with the same weights; its keys' bias, which changes nothing, drawn at random."""
    own = nn.MultiheadAttention(16, layer.heads, batch_first=True)
    with torch.no_grad():
        own.in_proj_weight.copy_(torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]))
        own.in_proj_bias.copy_(torch.cat([layer.query.bias, torch.randn(16), layer.value.bias]))
        own.out_proj.weight.copy_(layer.output.weight)
        own.out_proj.bias.copy_(layer.output.bias)
    return own


def test_masked_attention_of_one_query_is_pytorchs() -> None:
    torch.manual_seed(0)
    layer = MaskedAttention(16, 2)
    nn.init.normal_(layer.query.bias)
    nn.init.normal_(layer.value.bias)
    query, cells, places = torch.randn(3, 16), torch.randn(3, 20, 16), torch.randn(20, 16)
    visible = torch.rand(3, 20) > 0.6
    expected = reference(layer)(query[:, None], cells + places, cells, key_padding_mask=~visible)[0][:, 0]
    torch.testing.assert_close(layer(query, cells, places, visible), expected, atol=1e-5, rtol=1e-4)


def test_a_layer_is_masked_attention_then_the_querys_attention_to_itself_then_a_feed_forward_network() -> None:
    torch.manual_seed(0)
    layer = QueryLayer(16, 2, 24)
    itself = nn.MultiheadAttention(16, 2, batch_first=True)  # of one query its weight is one, whatever it asks
    with torch.no_grad():
        itself.in_proj_weight[32:].copy_(layer.self_value.weight)
        itself.in_proj_bias[32:].copy_(layer.self_value.bias.normal_())
        itself.out_proj.weight.copy_(layer.self_output.weight)
        itself.out_proj.bias.copy_(layer.self_output.bias.normal_())
    query, position = torch.randn(3, 16), torch.randn(16)
    cells, places, visible = torch.randn(3, 20, 16), torch.randn(20, 16), torch.rand(3, 20) > 0.5
    attention = reference(layer.attention)
    asked = (query + position)[:, None]
    state = query + attention(asked, cells + places, cells, key_padding_mask=~visible)[0][:, 0]
    state = layer.attention_norm(state)
    placed = (state + position)[:, None]
    state = layer.self_norm(state + itself(placed, placed, state[:, None])[0][:, 0])
    expected = layer.output_norm(state + layer.output(F.relu(layer.hidden(state))))
    torch.testing.assert_close(layer(query, position, cells, places, visible), expected, atol=1e-5, rtol=1e-4)


def test_the_query_attends_to_the_cells_of_its_mask_and_to_all_if_the_mask_is_empty() -> None:
    masks = torch.full((2, 4, 4), -3.0)
    masks[0, :2, 2:] = 3.0
    visible = inside(masks, (2, 2))
    assert visible.tolist() == [[False, True, False, False], [True] * 4]


def test_a_mask_before_the_first_layer_and_after_each_is_the_product_of_the_querys_state() -> None:
    decoder, (maps, mask_features) = build(layers=4), given()
    with torch.no_grad():
        decoded = decoder(maps, mask_features)
    assert decoded.masks.shape == (3, 5, 12, 10)
    assert decoded.queries.shape == (3, 5, 16)
    expected = torch.einsum("bke,byxe->bkyx", decoder.mask(decoded.queries), mask_features)
    torch.testing.assert_close(decoded.masks, expected)
    torch.testing.assert_close(decoded.queries[:, 0], decoder.norm(decoder.query).expand(3, -1))


def test_levels_are_attended_to_in_turn_inside_the_last_mask() -> None:
    decoder, (maps, mask_features) = build(layers=4), given()
    with torch.no_grad():
        decoded = decoder(maps, mask_features)
        query = decoder.query.expand(3, -1)
        for number, layer in enumerate(decoder.layers):
            at = number % 3
            cells = maps[at].flatten(1, 2) + decoder.level[at]
            visible = inside(decoded.masks[:, number], SIZES[at])
            query = layer(query, decoder.position, cells, sines(*SIZES[at], 16, "cpu"), visible)
            torch.testing.assert_close(decoder.norm(query), decoded.queries[:, number + 1])


def test_the_choice_of_cells_has_no_gradient() -> None:
    decoder, (maps, mask_features) = build(layers=1), given()
    mask_features.requires_grad_()
    decoded = decoder(maps, mask_features)
    assert torch.autograd.grad(decoded.queries.sum(), mask_features, allow_unused=True)[0] is None
