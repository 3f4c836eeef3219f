"""A real browser over a real server.

While Playwright is open it holds an event loop in the main thread, where `asyncio.run` and `anyio.run` then refuse to
work; so `browser` lasts as long as this package's tests, not as long as the session, and they run nothing of the kind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from browser.contexts import PATIENCE, Contexts
from live import eventually, live
from rag.assemble import index_token, open_service
from rag.serve.app import create_app
from rag.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Its path; nothing here is set up where there is none, or nothing to drive it."""
    pytest.importorskip("playwright.sync_api", reason="no Playwright; install it: pip install '.[dev]'")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium; install it: apt-get install chromium")


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser in which no name resolves, so that nothing leaves this machine."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            chromium_sandbox=os.geteuid() != 0,  # root cannot have it
            args=["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What went wrong in the test's contexts; a test that means to do wrong takes its complaints out."""
    return []


@pytest.fixture
def open_context(browser: Browser, complaints: list[str], tmp_path: Path) -> Iterator[Contexts]:
    """Opens contexts, takes them down, and asserts that there were no complaints."""
    contexts = Contexts(browser, complaints, tmp_path)
    yield contexts
    contexts.close()
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def page(open_context: Contexts, site: str, request: pytest.FixtureRequest) -> Page:
    """An empty page whose addresses are of `site`; indirect parameters are options of its context."""
    return open_context(base_url=site, **getattr(request, "param", {})).new_page()


@pytest.fixture(scope="session")
def settings(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of an index of this repository's corpus, built with the real encoder."""
    pytest.importorskip("torch", reason="exporting an encoder needs the `build` extra")
    settings = Settings(corpus=ROOT / "corpus", index=tmp_path_factory.mktemp("index"))
    command = [sys.executable, "-m", "rag", "--index", str(settings.index), "index", "--corpus", str(settings.corpus)]
    done = subprocess.run(command, cwd=settings.index, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return settings


@pytest.fixture(scope="session")
def site(settings: Settings) -> Iterator[str]:
    """The address of a server over that index."""
    with live(create_app(lambda: open_service(settings), lambda: index_token(settings))) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        yield url


def pytest_itemcollected(item: pytest.Item) -> None:
    if "chromium" in getattr(item, "fixturenames", ()):
        item.add_marker("browser")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test says where pictures of its pages are."""
    report = yield
    contexts = getattr(item, "funcargs", {}).get("open_context")
    if report.when == "call" and report.failed and isinstance(contexts, Contexts):
        report.sections.append(("pictures", "\n".join(contexts.pictures())))
    return report
