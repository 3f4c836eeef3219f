"""What the other tests here stand on: complaints, pictures, axe, and the kinds of context."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from browser.axe import assert_accessible, axe
from browser.contexts import CALM, DARK, NO_SCRIPT, PHONE, Contexts
from live import live

if TYPE_CHECKING:
    from playwright.sync_api import Page

POLICY = "default-src 'none'; script-src 'self'; require-trusted-types-for 'script'"

PAGES = {
    "/": "<h1>Bread</h1><p>Dough doubles in 2 hours.</p>",
    "/unlabelled": "<h1>Bread</h1><img src='data:,'>",
    "/script": "<h1>Bread</h1><p id='said'></p><script src='/says.js'></script>",
    "/inline": "<h1>Bread</h1><script>document.title = 'changed'</script>",
    "/injects": "<h1>Bread</h1><script src='/injects.js'></script>",
    "/complains": "<h1>Bread</h1><script src='/complains.js'></script>",
    "/throws": "<h1>Bread</h1><script src='/throws.js'></script>",
    "/missing": "<h1>Bread</h1><script src='/nowhere.js'></script>",
    "/elsewhere": "<h1>Bread</h1><img alt='' src='http://example.org/bread.png'>",
    "/socket": "<h1>Bread</h1><script src='/socket.js'></script>",
    "/breaks-off": "<h1>Bread</h1><script src='/breaks-off.js'></script>",
}
SCRIPTS = {
    "/says.js": "document.getElementById('said').textContent = 'said'",
    "/injects.js": "document.querySelector('h1').innerHTML = '<b>Cake</b>'",
    "/complains.js": "console.error('the oven is cold'); console.warn('the oven is old'); console.log('fine')",
    "/throws.js": "throw new Error('burnt')",
    "/socket.js": "new WebSocket('ws://example.org/')",
    "/breaks-off.js": "const stop = new AbortController(); "
    "fetch('/', {signal: stop.signal}).catch(() => {}); stop.abort()",
}
FREE = ("/elsewhere", "/socket", "/breaks-off")
"""Pages without a policy, which would forbid what they are for."""


def app() -> Starlette:
    def page(request: Request) -> Response:
        text = PAGES[request.url.path]
        headers = {} if request.url.path in FREE else {"content-security-policy": POLICY}
        html = f"<!doctype html><html lang='en'><title>Bread</title><main>{text}</main></html>"
        return HTMLResponse(html, headers=headers)

    def script(request: Request) -> Response:
        return PlainTextResponse(SCRIPTS[request.url.path], media_type="text/javascript")

    return Starlette(routes=[*(Route(path, page) for path in PAGES), *(Route(path, script) for path in SCRIPTS)])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with live(app()) as url:
        yield url


Visit = Callable[[str], "Page"]


@pytest.fixture
def visit(open_context: Contexts, url: str) -> Visit:
    """A page of the little application."""

    def visit(path: str) -> Page:
        page = open_context(base_url=url).new_page()
        page.goto(path)
        return page

    return visit


def test_a_quiet_page_has_no_complaints(visit: Visit, complaints: list[str]) -> None:
    page = visit("/script")
    assert page.locator("#said").text_content() == "said"
    assert page.context.browser
    assert complaints == []


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/complains", ["console error: the oven is cold", "console warning: the oven is old"]),
        ("/throws", ["thrown: burnt"]),
        ("/missing", ["console error: Failed to load resource: the server responded with a status of 404"]),
        ("/inline", ["console error: Executing inline script violates the following Content Security Policy"]),
        ("/injects", ["console error: This document requires 'TrustedHTML' assignment", "thrown: Failed to set"]),
        ("/elsewhere", ["elsewhere: http://example.org/bread.png", "failed: http://example.org/bread.png"]),
        ("/socket", ["elsewhere: ws://example.org/"]),
        ("/breaks-off", []),
    ],
)
def test_what_goes_wrong_is_a_complaint(visit: Visit, complaints: list[str], path: str, found: list[str]) -> None:
    def heard(start: str) -> bool:
        return any(complaint.startswith(start) for complaint in complaints)

    page = visit(path)
    for _ in range(100):
        page.wait_for_timeout(50)
        if all(map(heard, found)):
            break
    assert [start for start in found if not heard(start)] == [], complaints
    assert bool(complaints) == bool(found), complaints
    complaints.clear()


def test_without_a_base_url_the_first_request_says_where_home_is(
    open_context: Contexts, complaints: list[str], url: str
) -> None:
    page = open_context().new_page()
    page.goto(url)
    assert complaints == []
    with live(app()) as other:
        page.goto(other)
    assert complaints == [f"elsewhere: {other}/"]
    complaints.clear()


def test_a_context_may_run_no_javascript(open_context: Contexts, url: str) -> None:
    page = open_context(base_url=url, **NO_SCRIPT).new_page()
    page.goto("/script")
    assert page.locator("#said").text_content() == ""
    with pytest.raises(ValueError, match="axe-core needs JavaScript"):
        axe(page)


def test_a_context_may_be_dark_calm_or_a_phone(open_context: Contexts, url: str) -> None:
    def holds(query: str, **options: object) -> bool:
        page = open_context(base_url=url, **options).new_page()
        page.goto("/")
        return bool(page.evaluate("query => matchMedia(query).matches", query))

    for query, options in (
        ("(prefers-color-scheme: dark)", DARK),
        ("(prefers-reduced-motion: reduce)", CALM),
        ("(pointer: coarse) and (min-resolution: 2dppx)", PHONE),
    ):
        assert holds(query, **options)
        assert not holds(query)


def test_axe_finds_what_has_no_name_under_a_strict_policy(visit: Visit, complaints: list[str]) -> None:
    page = visit("/unlabelled")
    complaints.clear()  # the policy forbids the picture too
    (found,) = axe(page)
    assert (found.id, found.impact) == ("image-alt", "critical")
    with pytest.raises(AssertionError, match=r"(?s)image-alt \(critical\): .*<img src=.*Fix any of the following"):
        assert_accessible(page)


def test_axe_finds_nothing_on_a_clean_page_and_makes_no_noise(visit: Visit, complaints: list[str]) -> None:
    assert_accessible(visit("/"))
    assert complaints == []


def test_a_test_with_complaints_is_an_error_and_a_failed_one_leaves_a_picture(
    chromium: str, url: str, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(
        f"""
def test_complaint(open_context):
    open_context().new_page().goto("{url}/complains")

def test_failure(open_context):
    open_context().new_page().goto("{url}/")
    assert False
"""
    )
    options = ["-W", "error", "-o", "markers=browser", "--basetemp", str(tmp_path / "temp")]
    command = [sys.executable, "-m", "pytest", "-p", "browser.conftest", *options, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "1 failed, 1 passed, 1 error" in done.stdout, done.stdout
    assert "the oven is cold" in done.stdout
    (picture,) = tmp_path.glob("temp/test_failure0/page-1.png")
    assert f"{url}/ {picture}" in done.stdout


def test_the_site_answers(page: Page) -> None:
    response = page.goto("/healthz")
    assert response
    assert response.json() == {"status": "ok"}
