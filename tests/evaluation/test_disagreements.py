"""Expressions that one result has right and the other one wrong, by the size of the difference."""

from deixis.evaluation.disagreements import Disagreement, disagreements
from deixis.metrics.protocols import protocol_named
from deixis.metrics.scored import Answer, Scored
from deixis.records import Ids

RULES = protocol_named("full")


def scored(name: str, intersection: int) -> Scored:
    return Scored(ids=Ids("image", "object", name), target=100, answers=(Answer(1.0, intersection, intersection, 100),))


def test_the_largest_difference_comes_first_and_what_both_have_right_is_left_out() -> None:
    first = [scored("a", 90), scored("b", 80), scored("c", 95), scored("d", 10), scored("e", 50)]
    second = [scored("e", 49), scored("c", 60), scored("b", 5), scored("a", 30), scored("d", 70)]
    assert disagreements(first, second, RULES) == [
        Disagreement(sentence="b", first=0.8, second=0.05),
        Disagreement(sentence="a", first=0.9, second=0.3),
        Disagreement(sentence="e", first=0.5, second=0.49),
    ]
    assert [one.sentence for one in disagreements(second, first, RULES)] == ["d"]
