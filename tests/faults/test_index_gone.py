"""An index folder that goes away under a server, comes back, or is another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from faults.conftest import Record
from faults.forks import LONGEST, Forks
from faults.serving import Server
from faults.tiny import AFTER, ANSWER, NEW_ANSWER, build_tiny, write_corpus
from live import eventually
from rag.index.store import IndexFolder

STILL = "ERROR rag.serve the index before still answers: "


def still(server: Server, index: Path, strike: Callable[[], object]) -> str:
    """What the log says once the index is gone; the server's answer must be the one that it gave before."""
    before, told = server.answer(), server.log.count(STILL)
    strike()
    eventually(lambda: server.log.count(STILL) > told, LONGEST)
    assert server.answer() == before
    assert server.status() == 200
    return f"nothing; the log says: {server.log.rpartition(STILL)[2].splitlines()[0].replace(str(index), 'INDEX')}"


def test_an_index_that_goes_away_under_a_server(
    forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record
) -> None:
    index, other, away = fresh(), tmp_path / "other", tmp_path / "away"
    current = index / "CURRENT"
    old, new = write_corpus(tmp_path / "old"), write_corpus(tmp_path / "new", AFTER)
    build_tiny(new, other)

    def build(corpus: Path) -> None:
        assert forks.run("--index", index, "index", "--corpus", corpus).code == 0

    def keep(fault: str, sees: str, then: str) -> None:
        """What becomes of the server once there is an index again, which answers otherwise than the one before."""
        server.takes_up(index)
        assert server.answer() == then
        served = "the same answer, and the new index once there is one"
        record(fault, "`rag serve`, which has it open", sees=sees, lost="nothing", served=served)

    with Server(index, tmp_path) as server:
        server.start()
        assert server.answer() == ANSWER

        sees = still(server, index, lambda: index.rename(away))
        other.rename(index)
        keep("the index folder renamed away, then another renamed to its place", sees, NEW_ANSWER)

        sees = still(server, index, current.unlink)
        build(old)
        keep("`CURRENT` removed, then `rag index`", sees, ANSWER)

        shutil.rmtree(IndexFolder(index).current()[0])
        assert server.answer() == ANSWER
        assert server.status() == 200
        build(new)
        keep("the generation's folder removed, then `rag index`", "nothing", NEW_ANSWER)

        sees = still(server, index, lambda: shutil.rmtree(index))
        build(old)
        keep("the index folder removed, then `rag index`", sees, ANSWER)

        assert "Traceback" not in server.log
        assert " status=500 " not in server.log
