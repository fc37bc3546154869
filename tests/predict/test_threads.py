"""One Segmenter with a real network, called from several threads at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deixis.zoo.loading import load

PHOTO = Path(__file__).parents[2] / "examples" / "toyland.png"
SENTENCES = ["the person in green", "the turtle", "the yellow turtle on the left", "a zebra", "the child in blue"]


def test_eight_threads_get_the_bits_of_one_from_the_bundled_model() -> None:
    segmenter = load(device="cpu")
    encoded = segmenter.encode(PHOTO)

    def run(number: int) -> list[tuple[bytes, float, tuple[str, ...], bytes]]:
        sentences = SENTENCES[number % 4 :]
        found = segmenter(PHOTO, sentences, explain=True) if number % 2 else encoded(sentences, explain=True)
        return [(p.probability.tobytes(), p.score, p.notes, p.evidence["similarity"].tobytes()) for p in found]

    alone = [run(number) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(run, range(8))) == alone
