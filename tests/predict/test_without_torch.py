"""What lies between a photo and its mask, except the network, works without PyTorch."""

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["torch"] = None  # importing it raises ModuleNotFoundError
import numpy as np
import deixis.masks, deixis.records, deixis.data.images
from deixis.data.transforms import Preprocess
from deixis.predict.prediction import postprocess
from deixis.predict.presence import Presence
from deixis.text.tokenizer import SPECIAL, Tokenizer

photo = np.zeros((20, 30, 3), np.uint8)
photo[5:10, 10:20] = 255
preprocess = Preprocess(image_size=60, fit="pad")
token_ids, token_mask = Tokenizer([*SPECIAL, "white"]).encode(["white"], preprocess.max_tokens)
square = preprocess.image(deixis.data.images.open_image(photo))
probability = (square[0] > 1).astype(np.float32)  # in place of the network
prediction = postprocess("white", photo, preprocess.restore(probability, (20, 30)), presence=Presence(probability=0.9))
print(token_ids.shape, prediction.box, prediction.to_json()["score"])
assert not [name for name in sys.modules if name.startswith("torch.")]
"""


def test_a_photo_is_prepared_and_a_map_becomes_a_prediction_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "(1, 3) (10, 5, 10, 5) 0.9"
