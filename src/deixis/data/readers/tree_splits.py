"""A split of a data set in RefCOCO's layout, which the readers of that family share."""

from collections.abc import Iterator

from ...records import Sample
from .referents import Tree, entries, without_garbage_collection


class TreeSplit:
    """The sentences of one split in the published order; subclasses read the tree."""

    reads_masks = True

    @without_garbage_collection()
    def __init__(self, tree: Tree, split: str) -> None:
        self.tree = tree
        self.split = split
        self._entries, self.ids = entries(tree.of_split(split))

    @classmethod
    def of(cls, tree: Tree, split: str) -> "TreeSplit":
        """A reader of a tree that has been read."""
        reader = cls.__new__(cls)
        TreeSplit.__init__(reader, tree, split)
        return reader

    def sibling(self, split: str) -> "TreeSplit":
        """Another split of the same tree, without reading it again."""
        return self.of(self.tree, split)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        return self.tree.sample(*self._entries[position], self.ids[position], reads_mask=self.reads_masks)

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))
