"""Many expressions about one image: `python examples/2_many_sentences.py PICTURE SENTENCE SENTENCE …`."""

import sys
import time

import deixis


def main(picture: str, *sentences: str) -> None:
    segmenter = deixis.load()
    segmenter(picture, sentences[0])  # the first call of a process is slower than those after it
    start = time.perf_counter()
    for prediction in segmenter(picture, list(sentences)):
        print(f"{prediction.score:.2f}  {prediction.box}  {prediction.expression}")
    together = time.perf_counter() - start
    start = time.perf_counter()
    for sentence in sentences:
        segmenter(picture, sentence)
    print(f"together {together:.2f} s, one by one {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
