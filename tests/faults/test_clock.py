"""A wall clock that is years off, or jumps, while an index is built or served."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from endpoint import Exchange, endpoint, says
from faults.conftest import Record
from faults.forks import LONGEST, Fault, Forks
from faults.serving import Server
from faults.tiny import AFTER, ANSWER, BEFORE, NEW_ANSWER, answer, served, write_corpus

YEARS = 20 * 365 * 86400.0
HOUR = 3600.0


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


def test_a_clock_that_jumps_under_a_server(
    forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record
) -> None:
    index, jumps = fresh(), iter([HOUR, -HOUR, 0.0])

    def draft(exchange: Exchange) -> None:
        """Nothing of use to an answer, an hour after or before it was asked for."""
        server.set_clock(next(jumps))
        says("Bread.")(exchange)

    with endpoint(draft) as model:
        told = {"RAG_LLM_BASE_URL": model.url, "RAG_LLM_MODEL": "m"}
        with Server(index, tmp_path, "--rate", "1", environment=told) as server:
            server.start()
            assert server.ask().status_code == 200  # and that was this asker's only one for a minute
            for number, (pages, wanted) in enumerate([(AFTER, NEW_ANSWER), (BEFORE, ANSWER), (AFTER, NEW_ANSWER)], 2):
                asked = server.ask(f"127.0.0.{number}", generator="llm")
                assert asked.status_code == 200
                assert asked.json()["draft"]["failed"] is None
                assert 0 < asked.json()["timings_ms"]["total"] < 1000 * LONGEST
                refused = server.ask()
                assert refused.status_code == 429
                assert 0 < int(refused.headers["retry-after"]) <= 60
                corpus = write_corpus(tmp_path / f"corpus-{number}", pages)
                assert forks.run("--index", index, "index", "--corpus", corpus).code == 0
                server.takes_up(index)
                assert server.answer(f"127.0.1.{number}") == wanted
            asks = re.findall(r"^(\S+) INFO rag.serve POST .* milliseconds=(\S+)$", server.log, re.MULTILINE)
    assert all(0 < float(milliseconds) < 1000 * LONGEST for _, milliseconds in asks)
    times = [datetime.fromisoformat(time) for time, _ in asks]
    hours = [round((b - a).total_seconds() / HOUR) for a, b in pairwise(times)]
    assert [by for by in hours if by] == [1, -2, 1]
    record(
        "the clock an hour ahead, then an hour back",
        "`rag serve`, in the middle of an answer that a model drafts",
        sees="the times in the log",
        lost="nothing: how often one may ask, how long a model may take and what an answer took go by a clock that "
        "does not jump",
        served="every answer; the new index, once there is one",
    )
