"""kill -9 of a build, at each moment."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from faults.conftest import Record
from faults.forks import Fault, Forks, each
from faults.tiny import AFTER, NEW_ANSWER, answer, left, served, write_corpus
from rag.errors import IndexUnusable

KILLED = -signal.SIGKILL


def again(forks: Forks, index: Path, corpus: Path) -> str:
    """What is lost once the next build has run: nothing, where that succeeds and leaves nothing about."""
    done = forks.run("--index", index, "index", "--corpus", corpus)
    assert done.code == 0, done.err
    assert answer(index) == NEW_ANSWER
    return ", ".join(left(index)) or "nothing; the next build succeeds and sweeps up"


def test_a_build_killed_at_any_change_of_a_file(
    forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record, thorough: bool
) -> None:
    corpus, seen, lost = write_corpus(tmp_path / "corpus", AFTER), set[str](), set[str]()
    whole = forks.run("--index", fresh(), "index", "--corpus", corpus)
    assert whole.operations > 40
    for number in each(whole.operations, thorough):
        index = fresh()
        done = forks.run("--index", index, "index", "--corpus", corpus, fault=Fault(number, kill=True))
        assert (done.code, done.err) == (KILLED, "")
        seen.add(served(index))
        lost.add(again(forks, index, corpus))
    record(
        "kill -9",
        "`rag index`, before each file that it opens, links, syncs, renames or removes",
        sees="nothing but that it was killed",
        lost=" or ".join(lost),
        served=" or ".join(sorted(seen)),
    )


def test_a_build_killed_at_any_time(forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record) -> None:
    corpus, random, index = write_corpus(tmp_path / "corpus", AFTER), np.random.default_rng(0), fresh()
    seen, lost = set[str](), set[str]()
    moments = random.uniform(0, 0.15, int(os.environ.get("FAULTS_KILLS", "5"))).tolist()
    for moment in [0.0, *moments, None]:  # from before its first step to after its last
        shutil.rmtree(index, ignore_errors=True)
        index = fresh()
        done = forks.run("--index", index, "index", "--corpus", corpus, fault=Fault(after=moment))
        assert done.code in (KILLED, 0), done.err
        seen.add(served(index))
        lost.add(again(forks, index, corpus))
    record(
        "kill -9",
        "`rag index`, at moments by chance (in FAISS and tantivy too)",
        sees="nothing but that it was killed",
        lost=" or ".join(lost),
        served=" or ".join(sorted(seen)),
    )


def test_a_first_build_killed(forks: Forks, built: Path, tmp_path: Path, record: Record, thorough: bool) -> None:
    corpus, seen, lost = write_corpus(tmp_path / "corpus", AFTER), set[str](), set[str]()
    whole = forks.run("--index", tmp_path / "whole", "index", "--corpus", corpus)
    numbers = each(whole.operations, thorough)
    for number in numbers if thorough else [*numbers[:3], *numbers[-3:]]:
        index = tmp_path / f"index-{number}"
        done = forks.run("--index", index, "index", "--corpus", corpus, fault=Fault(number, kill=True))
        assert done.code == KILLED
        try:
            seen.add(served(index))
        except IndexUnusable as error:
            seen.add(str(error).replace(str(index), "INDEX"))
        lost.add(again(forks, index, corpus))
    record(
        "kill -9",
        "the first `rag index` in a folder",
        sees="nothing but that it was killed",
        lost=" or ".join(lost),
        served=" or ".join(sorted(seen)),
    )
