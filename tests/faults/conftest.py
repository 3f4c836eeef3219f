from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from faults import table
from faults.forks import Forks
from faults.tiny import build_tiny, write_corpus

RECORDS: pytest.StashKey[list[table.Row]] = pytest.StashKey()
Record = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write what the tests of faults see in docs/reliability.md")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RECORDS] = []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The page is written only where every test that ran has passed."""
    if not session.config.getoption("--record", False):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    if os.environ.get("FAULTS") == "all":
        reporter.write_line(f"the page has the sample that is taken without FAULTS=all: {table.PAGE} stays as it was")
        return
    if session.testsfailed or len(reporter.stats.get("passed", ())) < session.testscollected:
        reporter.write_line(f"a test of faults has not passed: {table.PAGE} stays as it was")
        return
    table.write(session.config.stash[RECORDS])


@pytest.fixture
def record(request: pytest.FixtureRequest, thorough: bool) -> Iterator[Record]:
    """Keep what was seen of a fault: the page has to say the same, row for row.

    Where every moment and every byte is tried, more is told than the page's sample has, so that column is not compared.
    """
    found: list[table.Row] = []
    file, test = request.path.name, request.node.name

    def keep(
        fault: str, where: str, *, sees: str | Iterable[str], lost: str, served: str, index: Path | None = None
    ) -> None:
        said = [sees] if isinstance(sees, str) else sorted(set(sees))
        told = " *or* ".join(dict.fromkeys(table.normal(text, index) for text in said))
        found.append(table.Row(fault, where, file, test, told, lost, served))

    yield keep
    if request.config.getoption("--record", False):
        request.config.stash[RECORDS].extend(found)
    else:
        page = [row for row in table.rows() if (row.file, row.test) == (file, test)]
        if thorough:
            page, found = ([replace(row, sees="") for row in rows] for rows in (page, found))
        assert page == found, "run `make reliability`"


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of `BEFORE`, to be copied."""
    pytest.importorskip("onnx", reason="making an encoder needs the `build` extra")
    folder = tmp_path_factory.mktemp("tiny")
    build_tiny(write_corpus(folder / "corpus"), folder / "index")
    return folder / "index"


@pytest.fixture(scope="session")
def thorough() -> bool:
    """Whether every moment and every byte is to be tried, which takes minutes: FAULTS=all."""
    return os.environ.get("FAULTS") == "all"


@pytest.fixture
def fresh(built: Path, tmp_path: Path) -> Callable[[], Path]:
    """Each call a copy of the index of its own."""
    number = count()
    return lambda: shutil.copytree(built, tmp_path / f"index-{next(number)}")
