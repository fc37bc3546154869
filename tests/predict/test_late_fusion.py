"""Late fusion, whose vision half does not depend on the words: one image is encoded once for many expressions."""

import numpy as np
import torch

from deixis.data.transforms import Preprocess
from deixis.models.late_fusion import LateFusion, LateFusionConfig
from deixis.predict.segmenter import Segmenter
from deixis.text.bert import BertConfig
from deixis.text.tokenizer import SPECIAL, Tokenizer
from deixis.vision.swin import SwinConfig

VOCABULARY = (*SPECIAL, "the", "red", "blue", "cup")
CONFIG = LateFusionConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4),
    text=BertConfig(layers=1, width=8, heads=1, feed_forward=16, vocabulary=len(VOCABULARY), positions=16),
    width=8,
)


def test_forty_expressions_about_one_image_run_the_vision_half_once() -> None:
    torch.manual_seed(0)
    system = LateFusion(CONFIG)
    segmenter = Segmenter(system, Tokenizer(VOCABULARY), Preprocess(image_size=64, max_tokens=8))
    runs: list[int] = []
    system.fusion.vision.register_forward_hook(lambda module, inputs, output: runs.append(len(inputs[0])))
    photo = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    sentences = ["the red cup", "blue", "the cup", "red"] * 10

    together = segmenter(photo, sentences)
    assert runs == [1]
    runs.clear()
    encoded = segmenter.encode(photo)
    one_by_one = [encoded(sentence) for sentence in sentences]
    assert runs == [1]
    for first, second in zip(together, one_by_one, strict=True):
        np.testing.assert_allclose(first.probability, second.probability, atol=1e-6)
    whole = segmenter.predict(segmenter.batch(photo, sentences[:4])).logits.sigmoid()
    for position, prediction in enumerate(together[:4]):
        restored = segmenter.preprocess.restore(whole[position].numpy(), (48, 64))
        np.testing.assert_allclose(prediction.probability, restored, atol=1e-6)
