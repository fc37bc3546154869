"""Images, masks and expressions keep their bytes: digests of the first version, with Pillow 13."""

import hashlib

import PIL
import pytest

from deixis.toyland.language.expressions import ExpressionOptions
from deixis.toyland.render.drawing import draw
from deixis.toyland.scene.domains import CONTENTS, STYLES
from deixis.toyland.scene.sampling import sample_scene
from deixis.toyland.world import Toyland

pytestmark = pytest.mark.skipif(not PIL.__version__.startswith("13."), reason="other Pillows fill polygons differently")

IMAGE_DIGESTS = {
    "painted": "2c047e1a7561fa45e38441c44dd97c2314e8c37e23a5930afc93d0fd112d7ddb",
    "sketch": "a8dacf1678e1f62ac182c4983a496952c4c3b50f9eec762fdc932aab8e192398",
    "night": "29559dad7a481356e7e9c68a1be029ff8649f53fd7087ea3e395629e51e7f2bd",
    "blueprint": "a7df13107fe6deef65465a724bb2ee5a9cb9e669cc1119deeb902eaee094d9e0",
    "photo": "5cf51abb68f4b54e06820440500d680763169c54587427018d28ab1efbd805a2",
}
EXPRESSION_DIGESTS = {
    ("toyland", "training"): "70f05a5d1070ece0ab5e76939de1bfce780bfe526414021658673c8b1b802dbd",
    ("toyland", "held-out"): "0cc0c6d2596b99b806043d02450c5d0f480e0dd8d322e8e1df50d526d0578a5d",
    ("toyland+", "training"): "6d872ea7b8799f4328c765a48cad201d53b1c119b45831c300aa8f1da06869b9",
    ("toyland+", "held-out"): "63ba837c37b0023203a9b8cc45f9159aecfd4a5569c8a4927c6ef4c2befba64d",
    ("toyland-g", "training"): "3bff3e02b82bcbf8676638a8efdd8d3a34486f7f1f725b6ea8e6b3104d291054",
    ("toyland-g", "held-out"): "a346417997db56fe777e8992e5bc7a20065770e5bd19458967e67815039fa7be",
}


@pytest.mark.parametrize("style", IMAGE_DIGESTS)
def test_thirty_scenes_have_the_pixels_and_masks_of_the_first_version(style: str) -> None:
    digest = hashlib.sha256()
    contents = list(CONTENTS.values())
    for seed in range(30):
        image = draw(sample_scene(seed, contents[seed % 4]), STYLES[style], 64)
        digest.update(image.pixels.tobytes() + image.masks.tobytes())
    assert digest.hexdigest() == IMAGE_DIGESTS[style]


@pytest.mark.parametrize(("subset", "paraphrases"), EXPRESSION_DIGESTS)
def test_twelve_scenes_have_the_expressions_and_masks_of_the_first_version(subset: str, paraphrases: str) -> None:
    digest = hashlib.sha256()
    for split in ("train", "testA", "testB", "held-out"):
        world = Toyland(
            split=split,
            subset=subset,
            num_scenes=3,
            size=64,
            style="blueprint" if split == "testB" else "painted",
            paraphrases=paraphrases,
            expression_options=ExpressionOptions(typos=0.3, slang=0.3, no_target=1.5, two_targets=0.7),
        )
        for sample in (sample for samples in world.scenes() for sample in samples):
            assert sample.mask is not None
            facts = (sample.ids.object, sample.ids.sentence, sample.expression, sample.traits["program"])
            digest.update("\n".join((*facts, str(sample.mask["counts"]))).encode())
    assert digest.hexdigest() == EXPRESSION_DIGESTS[subset, paraphrases]
