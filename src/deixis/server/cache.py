"""A cache that is bounded by the bytes of what it holds."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ByteCache(Generic[Key, Value]):
    """The values used last, together at most `most` bytes; for one thread."""

    def __init__(self, most: float) -> None:
        self.most, self.num_bytes = most, 0
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Key, value: Value, num_bytes: int) -> None:
        """Keep the value, and forget those unused for the longest time; one that fits nowhere is not kept."""
        if key in self._values:
            self.num_bytes -= self._values.pop(key)[1]
        if num_bytes > self.most:
            return
        self._values[key] = (value, num_bytes)
        self.num_bytes += num_bytes
        while self.num_bytes > self.most:
            _, (_, freed) = self._values.popitem(last=False)
            self.num_bytes -= freed


def num_bytes(value: Any) -> int:
    """Bytes of the arrays and tensors in mappings, sequences and dataclasses, however nested."""
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    if is_dataclass(value):
        return sum(num_bytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Mapping):
        return sum(map(num_bytes, value.values()))
    return sum(map(num_bytes, value)) if isinstance(value, list | tuple) else 0
