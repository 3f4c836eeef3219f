"""A disk that is full while an index is built."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.conftest import Record
from faults.forks import Fault, Forks, each
from faults.table import normal
from faults.tiny import AFTER, ANSWER, NEW_ANSWER, QUESTION, answer, left, served, write_corpus
from rag.index.store import IndexFolder


def test_a_disk_that_is_full_at_any_change_of_a_file(
    forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record, thorough: bool
) -> None:
    corpus, seen, told = write_corpus(tmp_path / "corpus", AFTER), list[str](), set[str]()
    lost = set[str]()
    whole = forks.run("--index", fresh(), "index", "--corpus", corpus)
    numbers = each(whole.operations, thorough)
    for number in numbers:
        index = fresh()
        done = forks.run("--index", index, "index", "--corpus", corpus, fault=Fault(number, errno=errno.ENOSPC))
        assert done.code == 1
        assert done.err.count("\n") == 1, done.err
        told.add(re.sub(r"\(\S+?: .*No space[^)]*\)", "(FILE: No space left on device)", normal(done.err, index)))
        seen.append(served(index))
        lost.update(left(index))
        assert forks.run("--index", index, "index", "--corpus", corpus).code == 0  # there is space again
        assert answer(index) == NEW_ANSWER
    # The last operation syncs the folder in which CURRENT has already been swapped.
    assert seen == ["the index before"] * (len(numbers) - 1) + ["the new index"]
    record(
        "disk full",
        "`rag index`, at each file that it opens, links, syncs or renames",
        sees=told,
        lost=", ".join(sorted(lost))
        or "nothing; no half generation stays, and with room again the next build succeeds",
        served=" or ".join(sorted(set(seen[:-1]))),
    )


def test_a_folder_that_may_not_be_written(
    forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record
) -> None:
    index, corpus = fresh(), write_corpus(tmp_path / "corpus", AFTER)
    folders = [path for path in (index, *index.rglob("*")) if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    try:
        done = forks.run("--index", index, "index", "--corpus", corpus, fault=Fault(plain=True))
        asked = forks.run("--index", index, "ask", "--json", QUESTION, fault=Fault(plain=True))
    finally:
        for path in folders:
            path.chmod(0o755)
    assert done.code == 1
    assert done.err.count("\n") == 1, done.err
    assert asked.value["sentences"][0]["text"] == ANSWER
    record(
        "no right to write",
        "`rag index` and `rag ask`",
        sees=done.err,
        index=index,
        lost=", ".join(left(index)) or "nothing",
        served=served(index),
    )


def test_an_index_that_is_a_file(forks: Forks, tmp_path: Path, record: Record) -> None:
    corpus, index = write_corpus(tmp_path / "corpus"), tmp_path / "index"
    index.write_text("a file")
    told = [forks.run("--index", index, *what) for what in (("index", "--corpus", corpus), ("ask", QUESTION))]
    assert [done.code for done in told] == [1, 1]
    assert all(done.err.count("\n") == 1 for done in told), told
    assert index.read_text() == "a file"
    record(
        "no folder",
        "`rag index` and `rag ask` where the index is a file",
        sees=[d.err for d in told],
        index=index,
        lost="nothing; the file stays as it is",
        served="nothing",
    )


def test_an_error_of_something_else_is_not_called_the_disks(built: Path) -> None:
    for error in (
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        PermissionError(errno.EACCES, "no", "/corpus/a.md"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    ):
        with pytest.raises(type(error)), IndexFolder(built).writing():
            raise error
