"""Pickles as plain data: lists, dicts, tuples, strings, bytes, numbers, booleans and None; anything else is refused.

A pickle is a program. Unpickling can call any function, read a global registry, or allocate gigabytes for a few bytes.
An Unpickler with a restricted `find_class` does not prevent the last two: it is not asked about cached extension codes,
sets, bytearrays and memo numbers. So a file is first walked without being run: every operation must be a plain one, and
every length and memo number must fit the file. Only then is it loaded.
"""

import io
import pickle
import re
from pathlib import Path
from typing import Any, NoReturn

from ...errors import DeixisError, InputError

# Operations that need code or things outside the file, and the name of what they ask for.
REFUSED = {
    b"c": "a global",
    b"i": "an instance",
    b"\x93": "a global",
    b"o": "an object",
    b"R": "a function call",
    b"b": "an object's state",
    b"\x81": "a new object",
    b"\x92": "a new object",
    b"P": "a persistent id",
    b"Q": "a persistent id",
    b"\x82": "an extension code",
    b"\x83": "an extension code",
    b"\x84": "an extension code",
    b"\x8f": "a set",
    b"\x90": "a set",
    b"\x91": "a frozenset",
    b"\x96": "a bytearray",
    b"\x97": "an outside buffer",
    b"\x98": "an outside buffer",
}
STOP = b"."
# Operation -> bytes of its length field and whether that is signed: what follows must fit the file.
COUNTED = {
    b"X": (4, False),
    b"T": (4, True),
    b"B": (4, False),
    b"\x8b": (4, True),
    b"\x8d": (8, False),
    b"\x8e": (8, False),
}


def read_plain(path: Path) -> Any:
    """The plain data in a pickle of protocol 0 to 5, from Python 2 (strings as latin1) or 3.

    Raises DeixisError with the name of what the file asked for, or the byte at which it is broken.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    return load_plain(data, str(path))


def load_plain(data: bytes, name: str) -> Any:
    """As `read_plain`, of bytes already read; `name` is what errors call them."""
    _walk(data, name)
    try:
        return _PlainUnpickler(io.BufferedReader(io.BytesIO(data), 1 << 20), name).load()
    except DeixisError:
        raise
    # Plain operations in an invalid order raise exceptions of many types.
    except Exception as error:
        raise InputError(f"{name} is a broken pickle ({type(error).__name__}: {error}); download it again.") from error


class _PlainUnpickler(pickle.Unpickler):
    """Refuses once more what the walk has refused."""

    def __init__(self, file: io.BufferedReader, name: str) -> None:
        super().__init__(file, encoding="latin1")
        self.name = name

    def find_class(self, module: str, name: str) -> NoReturn:
        raise _refusal(self.name, f"{module[:100]}.{name[:100]}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _refusal(self.name, "a persistent id")


def _refusal(name: str, what: str) -> InputError:
    return InputError(
        f"{name} asks for {what}, but a data file may hold plain data only "
        "(lists, dicts, tuples, strings, bytes, numbers); do not trust it, and download the official file again."
    )


def _walk(data: bytes, name: str) -> None:
    """Every operation up to STOP is plain and fits the file."""
    memo_limit = max(len(data) // 2, 0xFFFF)  # every memo entry costs two bytes at least
    plain = _plain_operations(memo_limit)
    position = 0
    while True:
        run = plain.match(data, position)
        position = run.end() if run else position
        operation = data[position : position + 1]
        if operation == STOP:
            return
        if operation in COUNTED:
            position = _past_counted(data, position, name)
        elif operation == b"\x95":
            _fits(data, position, 9, int.from_bytes(data[position + 1 : position + 9], "little"), name)
            position += 9
        elif operation == b"p":
            position = _past_memo_line(data, position, memo_limit, name)
        elif operation in REFUSED:
            raise _refusal(name, _requested(data, position, name))
        else:
            what = "ends in the middle" if position >= len(data) - 9 else "is not a pickle, or a broken one"
            raise InputError(f"{name} {what} (at byte {position:,} of {len(data):,}); download it again.")


def _past_counted(data: bytes, position: int, name: str) -> int:
    width, signed = COUNTED[data[position : position + 1]]
    length = int.from_bytes(data[position + 1 : position + 1 + width], "little", signed=signed)
    _fits(data, position, 1 + width, length, name)
    return position + 1 + width + length


def _fits(data: bytes, position: int, header: int, length: int, name: str) -> None:
    if position + header > len(data) or not 0 <= length <= len(data) - position - header:
        raise InputError(
            f"{name} claims {length:,} bytes at byte {position:,} but has {len(data):,} in all; download it again."
        )


def _past_memo_line(data: bytes, position: int, limit: int, name: str) -> int:
    end = data.find(b"\n", position)
    digits = data[position + 1 : end]
    if end < 0 or not digits.isdigit() or len(digits) > 18 or int(digits) > limit:
        raise InputError(f"{name} numbers a memo beyond its own length (at byte {position:,}); download it again.")
    return end + 1


def _requested(data: bytes, position: int, name: str) -> str:
    """What the operation at `position` asks for, by name where it has one."""
    operation = data[position : position + 1]
    if operation in (b"c", b"i"):
        module, function = (data[position + 1 : position + 400] + b"\n").decode("latin1").split("\n")[:2]
        return f"{module[:100]}.{function[:100]}"
    if operation == b"\x93":
        # The name is on the stack. Everything before is plain, so it is safe to run until find_class refuses.
        try:
            _PlainUnpickler(io.BufferedReader(io.BytesIO(data)), name).load()
        except DeixisError as error:
            return str(error).removeprefix(f"{name} asks for ").partition(", but a data file")[0]
        except Exception:
            return REFUSED[operation]
    if operation == b"P":
        return f"the persistent id {data[position + 1 : position + 100].decode('latin1').partition(chr(10))[0]!r}"
    if operation in (b"\x82", b"\x83", b"\x84"):
        width = {b"\x82": 1, b"\x83": 2, b"\x84": 4}[operation]
        return f"the extension code {int.from_bytes(data[position + 1 : position + 1 + width], 'little')}"
    return REFUSED[operation]


def _plain_operations(memo_limit: int) -> re.Pattern[bytes]:
    """The longest run of operations with a size of at most two bytes, which are nearly all of a published file."""
    high, middle = memo_limit >> 24, (memo_limit >> 16) & 0xFF
    memo_index = [rb"..[\x00-" + re.escape(bytes([middle])) + rb"]" + re.escape(bytes([high]))]
    if high:
        memo_index.append(rb"...[\x00-" + re.escape(bytes([high - 1])) + rb"]")
    short = [re.escape(bytes([length])) + rb".{%d}" % length for length in range(256)]
    short_text = [re.escape(bytes([length])) + rb"\x00\x00\x00.{%d}" % length for length in range(256)]
    alternatives = [
        rb"[(012Nade}l\]st)u\x85-\x89\x94]",  # marks, containers, None, True, False, memoize
        rb"[Khq\x80].",  # one-byte numbers and memo numbers, the protocol
        rb"M..",
        rb"X(?:" + rb"|".join(short_text) + rb")",
        rb"r(?:" + rb"|".join(memo_index) + rb")",
        rb"[Jj]....",
        rb"G.{8}",
        rb"[UC\x8a\x8c](?:" + rb"|".join(short) + rb")",
        rb"[SVILFg][^\n]*+\n",
        rb"p[0-9]{1,%d}\n" % (len(str(memo_limit)) - 1),
    ]
    return re.compile(rb"(?:" + rb"|".join(alternatives) + rb")++", re.DOTALL)
