"""Run by `test_predicting.py`: prediction in processes of which one dies of a row, with a stand-in for the model."""

import os
import sys
from pathlib import Path
from typing import Any

from deixis.runs.predicting.local import predict_locally
from deixis.runs.predicting.rows import Asking, Row, chunks


class Fatal:
    """A segmenter whose answer to "die" ends its process."""

    def encode(self, image: Path) -> Any:
        return self

    def __call__(self, expression: str, **options: Any) -> Any:
        if expression == "die":
            os._exit(9)
        if expression == "odd":
            raise KeyError("odd")
        return self

    def to_json(self) -> dict[str, Any]:
        mask = {"box": [0, 0, 1, 1], "size": [2, 2], "rle": {"counts": "04"}}
        return {"present": None, "score": 0.5, **mask, "notes": [], "model": "fatal"}


class FatalAsking(Asking):
    def segmenter(self) -> Any:
        return Fatal()


if __name__ == "__main__":
    expressions = ["a", "b", "die", "c", "odd", "d", "e", "f"]
    rows = [Row(f"id{number}", f"{number // 3}.png", each) for number, each in enumerate(expressions)]
    seen: list[tuple[int, int]] = []
    predict_locally(
        chunks(rows, 2),
        FatalAsking(model="fatal", load={}),
        Path(sys.argv[1]),
        2,
        lambda count, errors: seen.append((count, errors)),
    )
    print(sum(count for count, _ in seen), sum(errors for _, errors in seen))
