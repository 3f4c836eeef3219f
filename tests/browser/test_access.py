"""The page for everybody: by keyboard, read aloud, small, dark, calm, and cheap to load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from browser.axe import assert_accessible
from browser.contexts import CALM, DARK, PHONE, asking, expect

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

QUESTION = "What does RL change at the token level?"
REVIEW = "/documents/reviews/multi-agent-coordination-and-collapse"


def _open_evidence(page: Page) -> None:
    page.get_by_role("button", name="Open all evidence").click()
    page.locator("summary", has_text="passages").click()
    page.get_by_text("As Markdown", exact=True).click()


def _switch_on(page: Page) -> None:
    page.get_by_role("checkbox").check()


PAGES: dict[str, Callable[[Page], None] | None] = {
    "/": None,
    asking(QUESTION): _open_evidence,
    asking("Which learning rate did ReasonMaxxer use?"): None,
    "/episodes": None,
    "/episodes/E026": None,
    REVIEW: _switch_on,
    "/documents?kind=review": None,
    "/documents?kind=concept": None,
    "/map": None,
    "/map?q=reward+hacking": None,
    "/docs": None,
    "/nothing": None,
}

Visit = Callable[[str], "Page"]


@pytest.fixture
def visit(page: Page, complaints: list[str]) -> Iterator[Visit]:
    """The page at an address, and what has to be done to see all of it."""

    def visit(path: str) -> Page:
        page.goto(path)
        if act := PAGES[path]:
            act(page)
        return page

    yield visit
    complaints[:] = [c for c in complaints if "/nothing" not in c or "status of 404" not in c]


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing(visit: Visit, path: str) -> None:
    page = visit(path)
    assert_accessible(page)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE["viewport"])
    assert_accessible(page)


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_nothing_is_wider_than_a_small_phone(visit: Visit) -> None:
    wide = {}
    for path in PAGES:
        page = visit(path)
        page.set_viewport_size({"width": 320, "height": 640})
        width = page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
        if width > 320:
            wide[path] = width
    assert wide == {}


def test_what_is_pressed_is_high_enough_for_a_finger(visit: Visit) -> None:
    low = {}
    for path in PAGES:
        found = visit(path).evaluate(
            """() => [...document.querySelectorAll("button, input, select, textarea, summary, a.button")]
                .filter(one => one.checkVisibility() && one.type !== "hidden")
                .map(one => [one.closest("label:has([type=checkbox])") ?? one, one])
                .map(([target, one]) => [target.getBoundingClientRect().height, one.outerHTML.slice(0, 80)])
                .filter(([height]) => height < 24)"""
        )
        if found:
            low[path] = found
    assert low == {}


LUMINANCE = """(property, element = document.body) => {
    const [r, g, b] = getComputedStyle(element)[property].match(/[\\d.]+/g).map(Number)
        .map(value => value / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}"""


@pytest.mark.parametrize(("page", "dark"), [({}, False), (DARK, True)], indirect=["page"], ids=["light", "dark"])
def test_dark_is_dark_and_light_is_light(visit: Visit, dark: bool) -> None:
    for path in ("/", asking(QUESTION), "/map", "/nothing"):
        page = visit(path)
        paper, ink = (page.evaluate(LUMINANCE, name) for name in ("backgroundColor", "color"))
        assert (paper < 0.05) == dark, path
        assert (ink > 0.6) == dark, path
        field = page.locator("input[type=search]").first
        if field.count():
            shade = field.evaluate(f"element => ({LUMINANCE})('backgroundColor', element)")
            assert (shade < 0.05) == dark, path


ANIMATIONS = "document.getAnimations().length"


@pytest.mark.parametrize("page", [CALM], indirect=True)
def test_nothing_moves_where_calm_is_wanted(visit: Visit) -> None:
    moving = [path for path in ("/", asking(QUESTION), REVIEW, "/map") if visit(path).evaluate(ANIMATIONS)]
    assert moving == []


def focused(page: Page) -> dict[str, Any]:
    """What has the focus: its words, whether that shows, and whether it is on the screen."""
    found: dict[str, Any] = page.evaluate(
        """() => {
            const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
            return {
                tag: one.tagName, says: (one.ariaLabel || one.textContent || one.name || "").trim(),
                ringed: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
                seen: box.width > 0 && box.right > 0 && box.left < innerWidth
                    && box.bottom > 0 && box.top < innerHeight,
            };
        }"""
    )
    return found


def tab_to(page: Page, wanted: Callable[[dict[str, Any]], bool], most: int = 40) -> dict[str, Any]:
    """Presses Tab until it is there; on the way every focus shows."""
    for _ in range(most):
        page.keyboard.press("Tab")
        at = focused(page)
        assert at["ringed"], at
        assert at["seen"], at
        if wanted(at):
            return at
    raise AssertionError("the keyboard never came there")


def test_a_question_is_asked_and_its_evidence_followed_by_keyboard_alone(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("searchbox", name="Your question")).to_be_focused()
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(page.get_by_role("searchbox", name="Ask on")).to_be_visible()
    tab_to(page, lambda at: at["tag"] == "SUMMARY")
    page.keyboard.press("Enter")
    quote = page.locator("mark").first
    expect(quote).to_be_visible()
    tab_to(page, lambda at: at["says"] == "Read it in its place")
    page.keyboard.press("Enter")
    page.wait_for_url("**/documents/**")
    expect(page.locator("mark").first).to_be_in_viewport()


def test_an_answer_is_reached_in_few_steps(page: Page) -> None:
    page.goto(asking(QUESTION))
    skip = tab_to(page, lambda at: True)
    assert skip["says"] == "Skip to the content"
    page.keyboard.press("Enter")
    tab_to(page, lambda at: at["tag"] == "SUMMARY", most=4)


@pytest.mark.parametrize("path", [asking(QUESTION), "/episodes/E026", "/map?q=reward+hacking"])
def test_every_focus_shows_and_none_is_a_trap(page: Page, path: str) -> None:
    page.goto(path)
    if path == asking(QUESTION):
        _open_evidence(page)
        page.locator("body").focus()
    try:
        tab_to(page, lambda at: at["says"] == "API", most=150)
    except AssertionError as error:
        raise AssertionError(f"{path}: {error}") from error


def test_the_first_view_is_small(page: Page) -> None:
    got: list[Response] = []
    page.on("response", lambda response: got.append(response))
    page.goto("/", wait_until="networkidle")
    assert len(got) >= 3
    assert sum(len(response.body()) for response in got) < 100_000


def test_no_page_sets_a_cookie(page: Page) -> None:
    answers = [page.request.get(path, headers={"accept": "text/html"}) for path in PAGES]
    assert [answer.url for answer in answers if "set-cookie" in answer.headers] == []
    page.goto(asking(QUESTION))
    assert page.context.cookies() == []
