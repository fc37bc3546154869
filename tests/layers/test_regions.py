"""Sampling in boxes and pasting into images, against loops and against PyTorch's own interpolation."""

import numpy as np
import torch

from deixis.layers.regions import enlarged, mask_boxes, paste_boxes, sample_boxes


def test_samples_are_bilinear_values_at_the_cells_centres() -> None:
    draw = torch.Generator().manual_seed(4)
    maps = torch.randn(2, 3, 6, 8, generator=draw, dtype=torch.float64)
    boxes = torch.tensor([[3.0, 2, 21, 17], [-5, -4, 40, 30], [9, 9, 10, 10]], dtype=torch.float64)
    owners = torch.tensor([1, 0, 1])
    found = sample_boxes(maps, owners, boxes, 4.0, (3, 5))
    for number, (left, top, right, bottom) in enumerate(boxes.tolist()):
        for row in range(3):
            for column in range(5):
                y = min(max((top + (bottom - top) * (row + 0.5) / 3) / 4 - 0.5, 0), 5)
                x = min(max((left + (right - left) * (column + 0.5) / 5) / 4 - 0.5, 0), 7)
                y0, x0 = min(int(y), 4), min(int(x), 6)
                own = maps[owners[number]]
                upper = own[:, y0, x0] * (x0 + 1 - x) + own[:, y0, x0 + 1] * (x - x0)
                lower = own[:, y0 + 1, x0] * (x0 + 1 - x) + own[:, y0 + 1, x0 + 1] * (x - x0)
                torch.testing.assert_close(found[number, :, row, column], upper * (y0 + 1 - y) + lower * (y - y0))


def test_a_map_of_one_cell_is_constant() -> None:
    maps = torch.tensor([[[[7.0]]]])
    assert (sample_boxes(maps, torch.tensor([0]), torch.tensor([[0.0, 0, 9, 9]]), 4.0, (2, 2)) == 7).all()


def test_a_map_pasted_into_the_whole_image_is_resized_bilinearly() -> None:
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(2))
    box = torch.tensor([[0.0, 0, 20, 12], [0, 0, 20, 12]])
    right = torch.nn.functional.interpolate(logits[:, None], size=(12, 20), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(paste_boxes(logits, box, (12, 20), -10.0), right)


def test_beyond_the_box_nothing_is_found() -> None:
    pasted = paste_boxes(torch.full((1, 2, 2), 3.0), torch.tensor([[4.0, 2, 8, 5]]), (8, 10), -10.0)[0]
    expected = torch.full((8, 10), -10.0)
    expected[2:5, 4:8] = 3.0
    assert torch.equal(pasted, expected)


def test_enlarged_boxes_have_at_least_a_pixel() -> None:
    found = enlarged(torch.tensor([[10.0, 20, 30, 60], [5, 5, 5, 5]]), 0.1)
    torch.testing.assert_close(found[0], torch.tensor([8.0, 16, 32, 64]))
    assert (found[1, 2:] - found[1, :2] >= 1).all()


def test_boxes_of_masks_and_of_an_empty_mask() -> None:
    masks = torch.zeros(3, 6, 9, dtype=torch.bool)
    masks[0, 2:5, 3:7] = True
    masks[1, 5, 8] = True
    rows, columns = np.nonzero(masks[0].numpy())
    own = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert mask_boxes(masks).tolist() == [own, [8, 5, 9, 6], [0, 0, 0, 0]]
