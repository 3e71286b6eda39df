"""What is left of a run that ended, however it ended."""

import json
from pathlib import Path

import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.evaluation.answers import Answer, Given
from swiftdeploy.evaluation.journal import open_journal

HEADER = {"bundle": "b" * 64, "images": "i" * 64}
GIVEN = Given(best=(3, 1), squared_error=0.125, peak=7.5, scores=10)
ANSWERS = [Answer(name=f"ä/{i}.png", label=i, given={"x.onnx": GIVEN}) for i in range(3)]
LOST = Answer(name="lost.png", label=1, unreadable="lost.png is no readable image")


@pytest.fixture
def path(tmp_path):
    journal = open_journal(tmp_path / "answers.jsonl", HEADER)
    assert journal.answers == {}
    journal.add(ANSWERS)
    journal.add([LOST])
    journal.close()
    return tmp_path / "answers.jsonl"


def reopened(path, header=HEADER):
    journal = open_journal(path, header)
    journal.close()
    return journal.answers


def test_what_was_added_is_there_again(path):
    assert reopened(path) == {a.name: a for a in (*ANSWERS, LOST)}
    lines = path.read_text().splitlines()
    assert [json.loads(line).get("name") for line in lines] == [None, *(a.name for a in ANSWERS), "lost.png"]


def test_lines_are_there_before_it_is_closed(tmp_path):
    journal = open_journal(tmp_path / "j", HEADER)
    journal.add(ANSWERS[:1])
    assert len((tmp_path / "j").read_text().splitlines()) == 2
    journal.close()


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_torn_last_line_is_left_out_and_written_over(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    assert set(reopened(path)) == {a.name for a in ANSWERS}
    journal = open_journal(path, HEADER)
    journal.add([LOST])
    journal.close()
    assert set(reopened(path)) == {a.name for a in (*ANSWERS, LOST)}


@pytest.mark.parametrize("cut", [2, 20])
def test_a_torn_header_is_a_new_journal(tmp_path, cut):
    (tmp_path / "j").write_bytes(b'{"bundle": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbb'[:cut])
    assert reopened(tmp_path / "j") == {}
    assert json.loads((tmp_path / "j").read_text()) == {"schema": 1, **HEADER}


@pytest.mark.parametrize("key", ["bundle", "images", "schema"])
def test_another_evaluations_journal_is_refused_with_what_differs(path, key):
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"belongs to another evaluation: it differs in {key}$"):
        reopened(path, {**HEADER, key: "other"})
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["notes", "notes\n", "[1]\n", '{"a": 1}\n', "\n", "[" * 100_000 + "\n"])
def test_any_other_file_is_refused_and_left_alone(tmp_path, text):
    (tmp_path / "j").write_text(text)
    with pytest.raises(UsageError, match="is no journal of an evaluation"):
        reopened(tmp_path / "j")
    assert (tmp_path / "j").read_text() == text


def test_a_line_in_the_middle_that_is_damaged(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:-5] + b"\n", *lines[2:]]))
    with pytest.raises(UsageError, match="is no journal"):
        reopened(path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be used: No such file"):
        open_journal(tmp_path / "no" / "j", HEADER)
    with pytest.raises(UsageError, match="cannot be used: Is a directory"):
        open_journal(tmp_path, HEADER)


def test_without_a_path_nothing_is_kept():
    journal = open_journal(None, HEADER)
    journal.add(ANSWERS)
    journal.close()
    assert journal.answers == {}


def test_a_full_disk():
    journal = open_journal(None, HEADER)
    with Path("/dev/full").open("ab", buffering=0) as stream:
        journal._stream = stream
        with pytest.raises(UsageError, match="No space left"):
            journal.add(ANSWERS)
