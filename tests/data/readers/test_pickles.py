"""Plain pickles of every protocol are read; every crafted one is refused in time and in memory."""

import copyreg
import datetime
import fractions
import io
import os
import pickle
import pickletools
import random
import struct
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deixis.data.readers.pickles import load_plain, read_plain
from deixis.errors import DeixisError

PLAIN = [
    {"ref_id": 5, "sentences": [{"raw": "the man’s cup", "tokens": ["the", "cup"], "sent": ""}], "split": "val"},
    [1, -1, 255, 256, 65535, 65536, 2**31, -(2**31), 2**70, -(2**700), 1.5, -0.0, float("inf")],
    (True, False, None, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}),
    ["x" * length for length in (0, 1, 254, 255, 256, 257, 70_000)] + ["line\nbreak\\", "ü", "日本", "😀"],
]


def load(data: bytes) -> Any:
    return load_plain(data, "refs.p")


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_every_protocol_is_read(protocol: int) -> None:
    assert load(pickle.dumps(PLAIN, protocol)) == PLAIN
    assert load(pickletools.optimize(pickle.dumps(PLAIN, protocol))) == PLAIN


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_bytes_are_read(protocol: int) -> None:
    data = [b"", b"abc", b"x" * 300, b"y" * 70_000]
    assert load(pickle.dumps(data, protocol)) == data


@pytest.mark.parametrize("protocol", range(6))
def test_large_memos_are_read(protocol: int) -> None:
    words = [f"word {number}" for number in range(70_000)]
    assert load(pickle.dumps([words, words[::-1]], protocol)) == [words, words[::-1]]


@pytest.mark.parametrize(
    "data",
    [
        b"(dp1\nS'raw'\np2\nS'caf\\xe9'\np3\nsS'n'\nI5\nsS'long'\nL5L\nsS'yes'\nI01\ns.",  # protocol 0
        b"}q\x01(U\x03rawq\x02U\x04caf\xe9q\x03U\x01nK\x05U\x04longL5L\nU\x03yesI01\nu.",  # protocol 1
        b"\x80\x02}q\x01(U\x03rawq\x02T\x04\x00\x00\x00caf\xe9U\x01nK\x05U\x04long\x8a\x01\x05U\x03yes\x88u.",
    ],
)
def test_python_2_strings_are_read_as_latin1(data: bytes) -> None:
    assert load(data) == {"raw": "café", "n": 5, "long": 5, "yes": True}


def test_shared_and_circular_lists_keep_their_shape() -> None:
    inner: list[Any] = [1]
    inner.append(inner)
    read = load(pickle.dumps([inner, inner]))
    assert read[0] is read[1]
    assert read[0][1] is read[0]


class _Call:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("crafted", "name"),
    [
        (_Call(os.system, "touch crafted"), r"(posix|nt)\.system"),
        (_Call(eval, "open('crafted', 'w')"), r"(builtins|__builtin__)\.eval"),
        (_Call(subprocess.Popen, ["touch", "crafted"]), r"(subprocess|commands)\.Popen"),
        (_Call(getattr, _Call(__import__, "os"), "system"), r"(builtins|__builtin__)\.(getattr|__import__)"),
        ([{"ref_id": _Call(os.system, "touch crafted")}], r"(posix|nt)\.system"),
        (datetime.date(2020, 1, 1), r"datetime\.date"),
        (fractions.Fraction(1, 2), r"fractions\.Fraction"),
        (Path, r"pathlib.*Path"),
        (slice(1), r"(builtins|__builtin__)\.slice"),
    ],
)
def test_what_asks_for_code_is_refused_by_name(
    crafted: Any, name: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeixisError, match=rf"refs\.p asks for {name}, but a data file may hold plain data only"):
        load(pickle.dumps(crafted, protocol))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", range(6))
def test_sets_are_not_plain(protocol: int) -> None:
    with pytest.raises(DeixisError, match=r"asks for (a set|__builtin__\.set|builtins\.set)"):
        load(pickle.dumps({1, 2}, protocol))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"cos\nsystem\n(S'touch crafted'\ntR.", r"os\.system"),
        (b"(ios\nsystem\n.", r"os\.system"),
        (b"(S'touch crafted'\nios\nsystem\n.", r"os\.system"),
        (b"(cos\nsystem\nS'touch crafted'\no.", r"os\.system"),
        (b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93.", r"posix\.system"),
        (b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94h\x00h\x01\x93.", r"posix\.system"),
        (b"\x80\x04K\x01K\x02\x93.", "a global"),
        (b"P0 and a name\n.", "the persistent id '0 and a name'"),
        (b"K\x01Q.", "a persistent id"),
        (b"\x80\x02\x82\x07.", "the extension code 7"),
        (b"\x80\x02\x83\x01\x02.", "the extension code 513"),
        (b"\x80\x02\x84\x01\x00\x00\x01.", "the extension code 16777217"),
        (b"\x80\x05\x96" + struct.pack("<Q", 3) + b"abc.", "a bytearray"),
        (b"\x80\x05\x97.", "an outside buffer"),
        (b"N)\x81.", "a new object"),
        (b"]}b.", "an object's state"),
        (b"N)R.", "a function call"),
    ],
)
def test_each_operation_beyond_plain_data_is_refused(data: bytes, wanted: str) -> None:
    with pytest.raises(DeixisError, match=f"asks for {wanted}, but"):
        load(data)


def test_a_registered_extension_is_refused_although_it_is_cached() -> None:
    copyreg.add_extension("os", "system", 200)
    try:
        pickle.loads(b"\x80\x02\x82\xc8.")  # fills Python's own cache, which no find_class is asked about
        with pytest.raises(DeixisError, match="the extension code 200"):
            load(b"\x80\x02\x82\xc8.")
    finally:
        copyreg.remove_extension("os", "system", 200)


HUGE = 2**62


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8d" + struct.pack("<Q", HUGE) + b"abc.",
        b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + b"abc.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**33) + b"abc.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**64 - 1) + b"abc.",
        b"\x80\x05\x96" + struct.pack("<Q", HUGE) + b"abc.",
        b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b"N.",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.",
        b"\x80\x02\x8b" + struct.pack("<i", -5) + b"abc.",
        b"T" + struct.pack("<i", 2**31 - 1) + b"abc.",
        b"T" + struct.pack("<i", -1) + b"abc.",
        b"X" + struct.pack("<I", 2**32 - 1) + b"abc.",
        b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b"abc.",
        b"\x80\x03C\xffabc.",
        b"U\xffabc.",
        b"\x8a\xffabc.",
        b"]r\xff\xff\xff\x7f.",  # a memo of two thousand million places
        b"]r\x00\x00\x01\x00.",
        b"]p2147483647\n.",
        b"]p99999999999999999999999\n.",
        b"]p-1\n.",
        b"(" * 100_000 + b"S'",
        b"L" + b"9" * 100_000 + b"L\n.",
    ],
)
def test_huge_claims_take_no_memory(data: bytes) -> None:
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(DeixisError, match=r"refs\.p"):
            load(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 2
    assert peak < 8_000_000 + 20 * len(data)


def test_doubling_through_the_memo_stays_small() -> None:
    # Each list holds the one before it twice: 2^40 leaves for whoever unfolds it, 40 lists for whoever does not.
    data = (
        b"]q\x00" + b"".join(b"](h" + bytes([k]) + b"h" + bytes([k]) + b"eq" + bytes([k + 1]) for k in range(40)) + b"."
    )
    read = load(data)
    for _ in range(40):
        assert len(read) == 2
        read = read[0]
    assert read == []


def test_every_truncation_is_refused() -> None:
    for protocol in range(6):
        data = pickle.dumps(PLAIN[:3], protocol)
        for length in range(len(data) - 1):
            with pytest.raises(DeixisError):
                load(data[:length])


def test_no_mutation_runs_code_or_escapes_as_another_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lot = random.Random(0)
    for protocol in range(6):
        data = pickle.dumps([PLAIN[0], _Call(os.system, "touch crafted")], protocol)
        for _ in range(300):
            mutated = bytearray(data)
            for _ in range(lot.randint(1, 4)):
                mutated[lot.randrange(len(mutated))] = lot.randrange(256)
            try:
                load(bytes(mutated))
            except DeixisError:
                continue
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", [b"", b"hello", b"{}", b"\x80\x09N.", b"N0.", b"a.", b"h\x05.", b"]](Nd.", b"(]Nd."])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DeixisError, match=r"refs\.p"):
        load(data)


def test_a_file_is_named_in_errors(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match=r"refs\(unc\)\.p cannot be read"):
        read_plain(tmp_path / "refs(unc).p")
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(_Call(eval, "1"), 2))
    with pytest.raises(DeixisError, match=r"refs\(unc\)\.p asks for __builtin__\.eval"):
        read_plain(tmp_path / "refs(unc).p")


def test_the_answer_is_pythons_own() -> None:
    lot = random.Random(1)

    def invent(depth: int) -> Any:
        kinds = [lot.random(), lot.randint(-(2**40), 2**40), "w" * lot.randint(0, 300), None, True]
        if depth == 0:
            return lot.choice(kinds)
        return lot.choice([[invent(depth - 1) for _ in range(3)], {f"k{k}": invent(depth - 1) for k in range(3)}])

    for protocol in range(6):
        data = pickle.dumps([invent(4) for _ in range(20)], protocol)
        assert load(data) == pickle.load(io.BytesIO(data))
