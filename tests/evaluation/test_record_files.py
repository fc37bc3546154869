"""Records survive interruption, refuse to mix, and merge in the order of the split."""

import json
from pathlib import Path

import pytest

from deixis.errors import DeixisError
from deixis.evaluation.record_files import RecordWriter, check_header, mend, merge_shards, read_records
from deixis.metrics.protocols import PROTOCOLS
from deixis.metrics.scored import Answer, Scored
from deixis.records import Ids

RULES, HEADER = PROTOCOLS["full"], {"protocol": "full", "split": "val"}


def one(number: int) -> Scored:
    answers = (Answer(0.5, 10, number, 20), Answer(0.25, 11, 1, 21))
    return Scored(ids=Ids("i", "o", str(number)), target=10, answers=answers, groups={"size": "small"})


def write(path: Path, numbers: list[int]) -> Path:
    with RecordWriter(path, HEADER, RULES) as writer:
        writer.append([one(number) for number in numbers])
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = write(tmp_path / "records", [3, 1])
    assert list(read_records(path)) == [one(3), one(1)]
    assert json.loads(path.read_text().splitlines()[1])["iou"] == 3 / 20


@pytest.mark.parametrize("torn", ['{"image":"i","obj', '{"image": 1}'])
def test_half_a_line_is_cut_and_writing_goes_on(tmp_path: Path, torn: str) -> None:
    path = write(tmp_path / "records", [1])
    with path.open("a") as file:
        file.write(torn)
    assert list(read_records(path)) == [one(1)]
    write(path, [2])
    assert list(read_records(path)) == [one(1), one(2)]


def test_a_file_torn_in_its_header_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_text('{"header": {"proto')
    assert not mend(path)
    assert list(read_records(write(path, [1]))) == [one(1)]


def test_a_torn_line_longer_than_a_block_is_cut_too(tmp_path: Path) -> None:
    path = write(tmp_path / "records", [1])
    with path.open("a") as file:
        file.write("x" * 10_000)
    assert mend(path)
    assert list(read_records(path)) == [one(1)]


def test_records_of_another_evaluation_are_refused_by_what_differs(tmp_path: Path) -> None:
    path = write(tmp_path / "records", [1])
    check_header(path, HEADER)
    with pytest.raises(DeixisError, match="split: 'val', now 'testA'"):
        check_header(path, {**HEADER, "split": "testA"})


def test_shards_merge_in_the_order_of_the_split_and_each_sentence_once(tmp_path: Path) -> None:
    shards = [write(tmp_path / "part0", [4, 0, 2]), write(tmp_path / "part1", [3, 2])]
    assert not merge_shards(shards, tmp_path / "all", HEADER, ["0", "2", "3", "4"])
    assert list(read_records(tmp_path / "all")) == [one(number) for number in (0, 2, 3, 4)]
    check_header(tmp_path / "all", HEADER)
    assert not (tmp_path / "all.merging").exists()


def test_shards_that_lack_sentences_replace_nothing(tmp_path: Path) -> None:
    whole = write(tmp_path / "all", [0, 1])
    assert merge_shards([], whole, HEADER, ["0", "1"]) == ["0", "1"]
    assert merge_shards([write(tmp_path / "part0", [2])], whole, HEADER, ["2", "5"]) == ["5"]
    assert list(read_records(whole)) == [one(0), one(1)]
    assert not (tmp_path / "all.merging").exists()


def test_errors_in_other_and_broken_files_name_the_line(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_text("hello\n")
    with pytest.raises(DeixisError, match="first line is not a header"):
        list(read_records(foreign))
    broken = write(tmp_path / "broken", [1])
    with broken.open("a") as file:
        file.write('{"image": 1}\n')
    with pytest.raises(DeixisError, match="line 3"):
        list(read_records(broken))


def test_a_file_that_another_process_began_is_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "records"
    with RecordWriter(path, HEADER, RULES) as first, RecordWriter(path, HEADER, RULES) as second:
        assert not path.exists()
        first.append([one(1)])
        with pytest.raises(FileExistsError):
            second.append([one(2)])
    assert list(read_records(path)) == [one(1)]


@pytest.mark.parametrize("line", [b'{"image": "\xff"}', b"[" * 200_000, b"[]", b"5"], ids=lambda line: repr(line[:9]))
def test_errors_about_bytes_that_are_not_a_record_name_the_line(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path / "records", [1])
    with path.open("ab") as file:
        file.write(line + b"\n")
    for read in (lambda: list(read_records(path)), lambda: merge_shards([path], tmp_path / "all", HEADER, ["1"])):
        with pytest.raises(DeixisError, match="records, line 3: not the record of a scored expression"):
            read()
    path.write_bytes(line + b"\n")
    for read in (lambda: list(read_records(path)), lambda: check_header(path, HEADER)):
        with pytest.raises(DeixisError, match="first line is not a header"):
            read()
