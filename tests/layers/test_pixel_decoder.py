"""The pixel decoder: the order of levels, the use of positions, and the positions' sines by hand."""

import math

import pytest
import torch

from deixis.layers import pixel_decoder
from deixis.layers.pixel_decoder import PixelDecoder, sines

SIZES = [(8, 6), (4, 3), (2, 2)]


def build() -> PixelDecoder:
    torch.manual_seed(0)
    return PixelDecoder((8, 16, 24), 32, 12, heads=2, layers=2, feed_forward=40, points=3).eval()


def maps() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(2, *size, width, generator=draw) for size, width in zip(SIZES, (8, 16, 24), strict=True)]


def test_maps_are_returned_from_coarse_to_fine_in_one_width_and_the_finest_makes_the_mask_features() -> None:
    decoder = build()
    with torch.no_grad():
        encoded, mask_features = decoder(maps())
    assert [tuple(each.shape) for each in encoded] == [(2, 2, 2, 32), (2, 4, 3, 32), (2, 8, 6, 32)]
    assert torch.equal(mask_features, decoder.mask_features(encoded[-1]))
    assert mask_features.shape == (2, 8, 6, 12)


def test_every_level_is_refined_by_every_other() -> None:
    decoder = build()
    torch.nn.init.normal_(decoder.layers[0].attention.offsets.bias, std=2.0)
    given = [each.requires_grad_() for each in maps()]
    encoded, _ = decoder(given)
    for level in encoded:
        gradients = torch.autograd.grad(level.square().sum(), given, retain_graph=True)
        assert all(gradient.any() for gradient in gradients)


def test_positions_move_the_sampled_points_and_are_not_in_the_values() -> None:
    decoder = build()
    with torch.no_grad():
        for layer in decoder.layers:  # so that queries are not read
            layer.attention.weights.weight.zero_()
            layer.attention.offsets.weight.zero_()
        before = decoder(maps())[1]
        decoder.level.add_(5.0)
        assert torch.equal(decoder(maps())[1], before)
        decoder.layers[0].attention.offsets.weight.normal_()
        before = decoder(maps())[1]
        decoder.level.add_(1.0)
        assert not torch.allclose(decoder(maps())[1], before)


def test_an_image_is_decoded_as_it_is_alone() -> None:
    decoder = build()
    with torch.no_grad():
        together = decoder(maps())[1]
        alone = decoder([each[1:] for each in maps()])[1]
    torch.testing.assert_close(alone[0], together[1])


def test_in_evaluation_the_feed_forward_network_reads_a_few_cells_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = build()
    expected = decoder.train()(maps())[1]
    decoder.eval()
    fed: list[int] = []
    decoder.layers[0].hidden.register_forward_hook(lambda layer, given, hidden: fed.append(hidden.shape[1]))
    monkeypatch.setattr(pixel_decoder, "CELLS", 25)
    with torch.no_grad():
        torch.testing.assert_close(decoder(maps())[1], expected, atol=1e-5, rtol=1e-5)
    assert fed == [25, 25, 14]


def test_a_cells_position_is_sines_and_cosines_of_its_row_then_of_its_column() -> None:
    places = sines(3, 5, 8, "cpu").view(3, 5, 8)
    for row, column in ((0, 0), (2, 1), (1, 4)):
        expected = []
        for at, side in ((row, 3), (column, 5)):
            turn = (at + 1) / (side + 1e-6) * 2 * math.pi
            for wave in (1.0, 10_000.0**0.5):
                expected += [math.sin(turn / wave), math.cos(turn / wave)]
        assert places[row, column].tolist() == pytest.approx(expected, abs=1e-5)
