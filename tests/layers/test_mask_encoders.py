"""Centres, boxes and shapes of masks, against numbers computed by hand."""

import pytest
import torch

from deixis.layers.mask_encoders import boxes, centres, mask_encoder


def drawn() -> torch.Tensor:
    """Masks of 4 rows and 8 columns: two rows by three columns, one pixel, full, empty."""
    masks = torch.zeros(4, 4, 8, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 3, 7] = True
    masks[2] = True
    return masks


def test_a_centre_is_the_mean_of_the_pixels_middles() -> None:
    expected = torch.tensor([[3.5 / 8, 2 / 4], [7.5 / 8, 3.5 / 4], [0.5, 0.5], [0, 0]])
    torch.testing.assert_close(centres(drawn()), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_centre_stays_exact_under_autocast(dtype: torch.dtype) -> None:
    whole = torch.ones(1, 480, 480, dtype=torch.bool)  # its moment is beyond what half precision holds
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(centres(whole), torch.tensor([[0.5, 0.5]]))


def test_the_centre_of_two_parts_weights_them_by_area() -> None:
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 0, 0:3] = True
    masks[0, 3, 3] = True
    x, y = (0.5 + 1.5 + 2.5 + 3.5) / 4 / 4, (3 * 0.5 + 3.5) / 4 / 4
    torch.testing.assert_close(centres(masks), torch.tensor([[x, y]]))


def test_a_box_has_its_edges_left_top_right_bottom() -> None:
    expected = torch.tensor([[2 / 8, 1 / 4, 5 / 8, 3 / 4], [7 / 8, 3 / 4, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
    torch.testing.assert_close(boxes(drawn()), expected)


def test_a_centre_token_is_a_two_layer_perceptron_of_the_centre() -> None:
    encoder = mask_encoder("centre", 2)
    with torch.no_grad():
        encoder.hidden.weight.copy_(torch.tensor([[100.0, 0], [0, 100.0]]))  # there GELU is the identity
        encoder.hidden.bias.zero_()
        encoder.output.weight.copy_(torch.tensor([[0.01, 0.01], [0.01, -0.01]]))
        encoder.output.bias.copy_(torch.tensor([0.0, 1.0]))
    x, y = 3.5 / 8, 2 / 4
    torch.testing.assert_close(encoder(drawn())[0], torch.tensor([x + y, 1 + x - y]))


@pytest.mark.parametrize("description", ["centre", "box", "shape"])
@pytest.mark.parametrize("size", [(40, 64), (12, 20)])
def test_every_encoder_gives_finite_tokens_and_has_gradients(description: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    encoder = mask_encoder(description, 16)  # type: ignore[arg-type]
    masks = torch.zeros(3, *size, dtype=torch.bool)
    masks[0, : size[0] // 2] = True
    masks[1, :, size[1] // 3 :] = True
    tokens = encoder(masks)
    assert tokens.shape == (3, 16)
    assert tokens.isfinite().all()
    assert (tokens[0] - tokens[1]).abs().max() > 1e-4
    tokens.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in encoder.parameters())


def test_shape_tokens_differ_for_shapes_with_the_same_box() -> None:
    torch.manual_seed(0)
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[0, 4:28, 4:28] = True
    masks[1, 4:28, 4:28] = torch.eye(24, dtype=torch.bool) | torch.eye(24, dtype=torch.bool).flip(0)
    torch.testing.assert_close(boxes(masks)[0], boxes(masks)[1])
    torch.testing.assert_close(centres(masks)[0], centres(masks)[1])
    shape = mask_encoder("shape", 16)(masks)
    assert (shape[0] - shape[1]).abs().max() > 1e-3
