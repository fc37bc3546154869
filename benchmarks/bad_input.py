"""Questions without an answer: `python -m benchmarks.bad_input --photos FOLDER`.

200 pairs of an image and a sentence: 80 photographs with sentences about them or about drawings, 60 drawn scenes with
sentences of unknown words, and 60 with sentences in other languages. The default model answers. An answer is confident
where it has a mask and a score of a half or more; none may be. Exit code 1 where one is, or where one has no note.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from .measure import called, write

FIRST_SEED = 1_950_000_000
CONFIDENT = 0.5
OF_PHOTOS = (
    "the man on the left", "the red car", "a dog", "woman in blue shirt", "the pizza closest to us",
    "the cat on the right", "the person in green", "biggest animal", "white horse", "guy with the bat", "the blue cup",
    "second from right",
)  # fmt: skip
UNKNOWN = (
    "the zorbling frumious quux", "a wug", "flibbertigibbet", "the sonic screwdriver", "photosynthesis", "qwertyuiop",
    "the existential dread of capitalism", "an mp3 of the anthem", "krzbt", "the unknowable",
)  # fmt: skip
FOREIGN = (
    "das rote Auto links", "der Hund neben dem Baum", "la voiture rouge", "le chien à gauche", "el perro grande",
    "la mujer con sombrero", "il gatto nero", "kırmızı araba", "punainen auto", "rödbrun hund", "czerwony samochód",
    "красная машина", "собака слева", "赤い車", "左の犬", "红色的汽车",
    "الكلب الأحمر", "빨간 자동차", "ลูกสุนัข",
    "ο σκύλος",
)  # fmt: skip


def questions(photos: list[Path], rng: Random) -> Iterator[tuple[str, Any, str]]:
    """The group, the image and the sentence of each pair."""
    from deixis.toyland.world import Toyland

    world = Toyland(num_scenes=120, first_seed=FIRST_SEED)
    for number in range(80):
        yield "photograph", photos[number % len(photos)], rng.choice(OF_PHOTOS)
    for number in range(60):
        yield "unknown words", world.drawn(number).image().pixels, UNKNOWN[number % len(UNKNOWN)]
    for number in range(60, 120):
        yield "other language", world.drawn(number).image().pixels, FOREIGN[number % len(FOREIGN)]


def main() -> int:
    from deixis.zoo.loading import load

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model", default="auto")
    options = parser.parse_args()
    rng = Random(0)
    photos = sorted(options.photos.rglob("*.jpg"))
    segmenter = load(options.model, device="cpu")
    groups: dict[str, dict[str, Any]] = {}
    for group, image, sentence in questions(rng.sample(photos, k=min(80, len(photos))), rng):
        prediction = segmenter(image, sentence)
        row = groups.setdefault(group, {"pairs": 0, "with a note": 0, "with a mask": 0, "confident": [], "scores": []})
        row["pairs"] += 1
        row["with a note"] += bool(prediction.notes)
        row["with a mask"] += prediction.found
        row["scores"].append(round(prediction.score, 3))
        if prediction.found and prediction.score >= CONFIDENT:
            row["confident"].append(sentence)
    for row in groups.values():
        row["highest score"] = max(row.pop("scores"))
    result = {"command": called("benchmarks.bad_input"), "groups": groups}
    print(json.dumps(result, indent=1, ensure_ascii=False))
    print(write("bad_input", result))
    return int(any(row["confident"] or row["with a note"] < row["pairs"] for row in groups.values()))


if __name__ == "__main__":
    sys.exit(main())
