"""A wall clock that is years off, or jumps by years, while an index is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from faults.conftest import Record
from faults.forks import Fault, Forks
from faults.tiny import AFTER, NEW_ANSWER, answer, served, write_corpus

YEARS = 20 * 365 * 86400.0


def test_a_clock_that_is_off(forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record) -> None:
    corpus = write_corpus(tmp_path / "corpus", AFTER)
    operations = forks.run("--index", fresh(), "index", "--corpus", corpus).operations
    for where, years in (("20 years back", -YEARS), ("20 years ahead", YEARS)):
        seen, lost = set[str](), set[str]()
        for fault in (Fault(clock=years), Fault(at=operations // 2, jump=years), Fault(at=operations - 3, jump=years)):
            index = fresh()
            done = forks.run("--index", index, "index", "--corpus", corpus, fault=fault)
            assert done.code == 0, done.err
            seen.add(served(index))
            after = forks.run("--index", index, "index", "--corpus", corpus)  # by a clock that is right again
            assert "up to date" in after.err, after.err
            lost.add("nothing" if answer(index) == NEW_ANSWER else answer(index))
        record(
            f"the clock {where}",
            "`rag index`, all of it or from a moment within",
            sees="what a build says",
            lost=" or ".join(sorted(lost)),
            served=" or ".join(sorted(seen)),
        )
