"""The pieces that a vocabulary learns, against the worked example of the paper and a literal implementation."""

import random
from collections import Counter
from itertools import pairwise

from deixis.text.vocabulary import learn_pieces

# Sennrich, Haddow and Birch, ACL 2016, figure 1, without the end-of-word mark.
PAPER = Counter({"low": 5, "lower": 2, "newest": 6, "widest": 3})
LETTERS = {"l", "n", "w", *(f"##{letter}" for letter in "lowernstid")}


def literal(words: Counter[str], known: set[str], num: int) -> list[str]:
    """All pairs are counted anew in every round."""
    spelled = {word: [word[0], *(f"##{letter}" for letter in word[1:])] for word in words}
    pieces = sorted({piece for spelling in spelled.values() for piece in spelling} - known)[:num]
    while len(pieces) < num:
        pairs = Counter(pair for word, count in words.items() for pair in list(pairwise(spelled[word])) * count)
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merged = best[0] + best[1].removeprefix("##")
        if merged not in known and merged not in pieces:
            pieces.append(merged)
        for word, spelling in spelled.items():
            at = 0
            while at + 1 < len(spelling):
                if (spelling[at], spelling[at + 1]) == best:
                    spelling[at : at + 2] = [merged]
                at += 1
            spelled[word] = spelling
    return pieces


def test_the_example_of_the_paper_merges_in_its_order() -> None:
    # e-s and es-t occur 9 times, o-w and l-ow 7 times, e-w 6 times; ties go by the alphabet.
    assert learn_pieces(PAPER, LETTERS, 5) == ["##es", "##est", "##ow", "low", "##ew"]


def test_letters_come_first_and_known_pieces_not_at_all() -> None:
    assert learn_pieces(Counter({"ab": 1}), {"a"}, 9) == ["##b", "ab"]
    assert learn_pieces(Counter({"ab": 1}), set(), 1) == ["##b"]
    assert learn_pieces(Counter(), set(), 4) == []


def test_it_equals_counting_all_pairs_in_every_round() -> None:
    draw = random.Random(0)
    for _ in range(20):
        words = Counter({"".join(draw.choices("abc", k=draw.randint(1, 9))): draw.randint(1, 5) for _ in range(12)})
        assert learn_pieces(words, {"a"}, 25) == literal(words, {"a"}, 25)
