"""Windows of a browser that are listened to."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, WebError, WebSocket

NO_SCRIPT: dict[str, Any] = {"java_script_enabled": False}
DARK: dict[str, Any] = {"color_scheme": "dark"}
CALM: dict[str, Any] = {"reduced_motion": "reduce"}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
PATIENCE = 10_000
"""Milliseconds that anything may take."""
MOMENT = 50


class Contexts:
    """Opens contexts as `Browser.new_context` does; what goes wrong in one of them is a complaint.

    That is an error or a warning on the console (where Chromium reports what a Content-Security-Policy forbids, and
    every status from 400 on), an exception that nobody caught, a request that failed (one that the page itself broke
    off did not), and a request to any host and port but those of `base_url`, or without it of the first request. That
    there is no `/favicon.ico`, for which Chromium asks when it likes where a page names no icon, is none.
    """

    def __init__(self, browser: Browser, complaints: list[str], folder: Path) -> None:
        self._browser, self._complaints, self._folder = browser, complaints, folder
        self.opened: list[BrowserContext] = []

    def __call__(self, **options: Any) -> BrowserContext:
        context = self._browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        self.opened.append(context)
        own = urlsplit(options.get("base_url", "")).netloc

        def ask(url: str) -> None:
            nonlocal own
            parts = urlsplit(url)
            if parts.scheme in ("http", "https", "ws", "wss"):
                own = own or parts.netloc
                if parts.netloc != own:
                    self._complaints.append(f"elsewhere: {url}")

        def say(message: ConsoleMessage) -> None:
            where = message.location["url"]
            if message.type in ("error", "warning", "assert") and urlsplit(where).path != "/favicon.ico":
                self._complaints.append(f"console {message.type}: {message.text} ({where})")

        def fail(request: Request) -> None:
            if request.failure != "net::ERR_ABORTED":
                self._complaints.append(f"failed: {request.url} ({request.failure})")

        def throw(error: WebError) -> None:
            self._complaints.append(f"thrown: {error.error}")

        def connect(socket: WebSocket) -> None:
            ask(socket.url)

        def show(page: Page) -> None:
            page.on("websocket", connect)

        context.on("request", lambda request: ask(request.url))
        context.on("console", say)
        context.on("requestfailed", fail)
        context.on("weberror", throw)
        context.on("page", show)
        return context

    def close(self) -> None:
        """Closes them all, a moment later: what the pages did last may not have been heard of yet."""
        for page in [page for context in self.opened for page in context.pages][:1]:
            page.wait_for_timeout(MOMENT)  # which hears the others too
        for context in self.opened:
            context.close()

    def pictures(self) -> list[str]:
        """Takes one of every open page; each line is an address and a file."""
        from playwright.sync_api import Error

        lines = []
        for number, page in enumerate((page for context in self.opened for page in context.pages), start=1):
            path = self._folder / f"page-{number}.png"
            with suppress(Error):  # of a page that crashed, say
                page.screenshot(path=path, full_page=True)
                lines.append(f"{page.url} {path}")
        return lines


def expect(what: Any) -> Any:
    """Playwright's `expect`; where there is no Playwright, this module can be imported all the same."""
    from playwright.sync_api import expect

    return expect(what)


def asking(question: str, **more: str) -> str:
    """The address of an answer."""
    return f"/?{urlencode({'q': question} | more)}"
