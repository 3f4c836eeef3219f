"""Takes the pictures of the page in this folder, of an index that is built: `make screenshots`.

They are to be looked at before they are committed.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from rag.assemble import open_service
from rag.serve.app import create_app
from rag.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS = Path(__file__).resolve().parent
WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
DARK: dict[str, Any] = {"color_scheme": "dark"}


def main() -> None:
    """Take all of them."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or sys.exit("no Chromium; install it: apt-get install chromium")
    with serving() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=os.geteuid() != 0)

        def take(name: str, path: str, options: dict[str, Any], open_evidence: bool = False) -> None:
            page = browser.new_context(base_url=url, reduced_motion="reduce", **options).new_page()
            page.goto(path)
            if open_evidence:
                page.locator(".said > summary").first.click()
            settle(page)
            page.screenshot(path=DOCS / f"{name}.png")

        asked = "/?q=How+much+did+it+cost+to+match+full+RL+on+a+32B+model%3F"
        take("page-answer", asked, WIDE, open_evidence=True)
        take("page-home", "/", WIDE)
        take("page-abstention", "/?q=Who+discovered+penicillin%3F", WIDE)
        take("page-map", "/map?q=reward+hacking", WIDE | DARK)
        take("page-episode", "/episodes/E026", WIDE)
        take("page-phone", asked, PHONE | DARK, open_evidence=True)
        browser.close()


def settle(page: Page) -> None:
    """Wait until fonts and layout are there."""
    page.evaluate("document.fonts.ready")
    page.wait_for_load_state("networkidle")


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server over the index of the settings."""
    server = uvicorn.Server(uvicorn.Config(create_app(partial(open_service, Settings())), log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=partial(server.run, sockets=[bound]))
        thread.start()
        while not server.started:
            time.sleep(0.05)
        time.sleep(2)  # the index is opened behind the server
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
