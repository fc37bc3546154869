"""Readers made of readers: some samples of one, all samples of several, or one with other sentences."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..records import Ids, Reader, Sample


class Subset:
    """The samples of a reader at some positions."""

    def __init__(self, reader: Reader, positions: Sequence[int]) -> None:
        self.reader = reader
        self.positions = tuple(positions)
        self.ids: tuple[Ids, ...] = tuple(reader.ids[position] for position in self.positions)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, position: int) -> Sample:
        return self.reader[self.positions[position]]

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))


@dataclass(frozen=True)
class Concat:
    """The samples of several readers, one reader after the other."""

    readers: tuple[Reader, ...]

    @cached_property
    def ids(self) -> tuple[Ids, ...]:
        return tuple(ids for reader in self.readers for ids in reader.ids)

    def __len__(self) -> int:
        return sum(map(len, self.readers))

    def __getitem__(self, position: int) -> Sample:
        for reader in self.readers:
            if position < len(reader):
                return reader[position]
            position -= len(reader)
        raise IndexError(position)


@dataclass(frozen=True)
class Reworded:
    """The samples of a reader with their expressions changed; ids stay, so that scores can be paired."""

    reader: Reader
    change: Callable[[str], str]

    @property
    def ids(self) -> tuple[Ids, ...]:
        return self.reader.ids

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, position: int) -> Sample:
        sample = self.reader[position]
        return replace(sample, expression=self.change(sample.expression))
