"""Accessibility, as far as axe-core can tell."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]


class Violation(NamedTuple):
    """A rule that is broken; its nodes are their HTML and what to do about it."""

    id: str
    impact: str
    help: str
    nodes: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        nodes = (f"  {html}\n    {summary.replace(chr(10), f'{chr(10)}    ')}" for html, summary in self.nodes)
        return "\n".join((f"{self.id} ({self.impact}): {self.help}", *nodes))


def axe(page: Page) -> list[Violation]:
    """What axe-core objects to on the page as it stands, under any Content-Security-Policy.

    Raises ValueError where the context runs no JavaScript: axe would wait for a timer that never fires.
    """
    if not page.evaluate("matchMedia('(scripting: enabled)').matches"):
        raise ValueError("axe-core needs JavaScript, and this context runs none")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        Violation(v["id"], v["impact"], v["help"], tuple((n["html"], n["failureSummary"]) for n in v["nodes"]))
        for v in found["violations"]
    ]


def assert_accessible(page: Page) -> None:
    """Fails with everything that axe-core objects to."""
    found = axe(page)
    assert not found, "\n".join([page.url, *map(str, found)])
