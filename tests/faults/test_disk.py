"""A disk that is full while an index is built."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path

from faults.conftest import Record
from faults.forks import Fault, Forks, each
from faults.table import normal
from faults.tiny import AFTER, NEW_ANSWER, answer, left, served, write_corpus


def test_a_disk_that_is_full_at_any_change_of_a_file(
    forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record, thorough: bool
) -> None:
    corpus, seen, told = write_corpus(tmp_path / "corpus", AFTER), list[str](), set[str]()
    whole = forks.run("--index", fresh(), "index", "--corpus", corpus)
    numbers = each(whole.operations, thorough)
    for number in numbers:
        index = fresh()
        done = forks.run("--index", index, "index", "--corpus", corpus, fault=Fault(number, errno=errno.ENOSPC))
        assert done.code == 1
        assert done.err.count("\n") == 1, done.err
        told.add(re.sub(r"\(\S+?: .*No space[^)]*\)", "(FILE: No space left on device)", normal(done.err, index)))
        seen.append(served(index))
        assert left(index) == []
        assert forks.run("--index", index, "index", "--corpus", corpus).code == 0  # there is space again
        assert answer(index) == NEW_ANSWER
    # The last operation syncs the folder in which CURRENT has already been swapped.
    assert seen == ["the index before"] * (len(numbers) - 1) + ["the new index"]
    record(
        "disk full",
        "`rag index`, at each file that it opens, links, syncs or renames",
        sees=told,
        lost="nothing; no half generation stays, and with room again the next build succeeds",
        served="the index before",
    )
