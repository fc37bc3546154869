"""The pictures of a data set alone: what self-supervised pre-training reads."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from ..records import Ids, Reader, Sample


class Pictures:
    """A Reader with one Sample for each image of another one, without its expression, mask, targets and traits."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        first: dict[str, int] = {}
        for position, ids in enumerate(reader.ids):
            first.setdefault(ids.image, position)
        self.positions: Sequence[int] = tuple(first.values())

    @cached_property
    def ids(self) -> tuple[Ids, ...]:
        return tuple(self.reader.ids[position] for position in self.positions)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, position: int) -> Sample:
        sample = self.reader[self.positions[position]]
        return replace(sample, expression="", mask=None, targets={}, traits={})
