"""Asking a question, and what comes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx
import pytest

from browser.contexts import NO_SCRIPT, Contexts, asking, expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request

CORPUS = Path(__file__).resolve().parents[2] / "corpus"
COST = "How much did it cost to match full RL on a 32B model?"
TOKENS = "What does RL change at the token level?"
CARRIED = "How do multi-agent systems fail?"
UNSAID = "Which learning rate did ReasonMaxxer use?"
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


def one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def sentences(page: Page) -> Locator:
    return page.locator("summary .text")


def started(page: Page) -> Page:
    """The first page, ready to be typed into."""
    page.goto("/")
    expect(page.get_by_role("searchbox", name="Your question")).to_be_focused()
    return page


def opened(page: Page, question: str) -> Locator:
    """The first sentence of the answer to a question, its evidence open."""
    page.goto(asking(question))
    said = page.locator(".said").first
    said.locator("summary").click()
    expect(said.get_by_role("link", name="Read it in its place").first).to_be_visible()
    return said


def test_one_may_type_at_once(page: Page) -> None:
    started(page)


def test_an_example_is_answered_and_cites_an_episode(page: Page) -> None:
    page.goto("/")
    example = page.get_by_role("list", name="For example").get_by_role("link").first
    question = one_line(example.text_content())
    example.click()
    expect(page.get_by_role("searchbox", name="Your question")).to_have_value(question)
    expect(page.locator("summary .chip").first).to_have_text(re.compile(r"^E\d{3}$"))
    expect(page.get_by_text("The corpus does not say")).to_have_count(0)


def test_what_is_typed_is_answered_and_its_address_says_the_same_again(page: Page) -> None:
    started(page).keyboard.type(COST)
    page.keyboard.press("Enter")
    expect(sentences(page).first).to_contain_text("about $25")
    typed = sentences(page).all_text_contents()
    assert page.url.endswith(asking(COST))
    page.goto("about:blank")
    page.goto(asking(COST))
    assert sentences(page).all_text_contents() == typed


def test_a_question_of_blanks_is_asked_again(page: Page) -> None:
    started(page).keyboard.type("   ")
    with page.expect_navigation() as navigation:
        page.keyboard.press("Enter")
    assert navigation.value.status == 200
    expect(page.get_by_role("searchbox", name="Your question")).to_be_focused()
    expect(page.locator(".said, .abstained")).to_have_count(0)


@pytest.mark.parametrize("key", [None, "Enter", "Space"], ids=["click", "enter", "space"])
def test_a_sentence_opens_its_evidence_and_closes_it_again(page: Page, key: str | None) -> None:
    page.goto(asking(COST))
    summary, quote = page.locator(".said > summary").first, page.locator(".said blockquote").first
    for seen in (False, True, False):
        expect(quote).to_be_visible(visible=seen)
        if key:
            summary.press(key)
        else:
            summary.click()


@pytest.mark.parametrize("question", [COST, TOKENS, CARRIED])
def test_what_is_highlighted_stands_in_the_file(page: Page, question: str) -> None:
    said = opened(page, question)
    for mark in said.locator("mark").all():
        expect(mark).to_be_visible()
        assert mark.evaluate("mark => getComputedStyle(mark).backgroundColor") != "rgba(0, 0, 0, 0)"
    figure = said.locator("figure").first
    document = unquote(figure.locator("figcaption a").get_attribute("href") or "").removeprefix("/documents/")
    quoted = one_line("".join(figure.locator("mark").all_text_contents()))
    assert quoted
    assert quoted in one_line((CORPUS / f"{document}.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (COST, "The glossary says so of E026"),
        (TOKENS, "The episode's own summary says so of E026"),
        (CARRIED, "Carried over from the sentence after, which the review says of E034"),
    ],
)
def test_who_says_so_is_said_in_words(page: Page, question: str, says: str) -> None:
    expect(opened(page, question).locator("figure").first).to_contain_text(says)


def test_support_is_a_meter_between_nothing_and_all(page: Page) -> None:
    meter = opened(page, COST).get_by_role("meter", name="Support")
    expect(meter).to_be_visible()
    least, value, most = meter.evaluate("meter => [meter.min, meter.value, meter.max]")
    assert (least, most) == (0, 1)
    assert 0.5 < value <= 1


@pytest.mark.parametrize("question", [COST, CARRIED])
def test_a_quote_is_read_in_its_place(page: Page, question: str) -> None:
    page.set_viewport_size({"width": 800, "height": 320})  # so that the place is seldom on the first screen
    said = opened(page, question)
    quoted = one_line("".join(said.locator("mark").all_text_contents()))
    said.get_by_role("link", name="Read it in its place").first.click()
    page.wait_for_url("**/documents/**")
    marks = page.locator("mark")
    assert one_line("".join(marks.all_text_contents())) == quoted
    expect(marks.first).to_be_in_viewport()


def test_the_link_to_a_place_can_be_copied(open_context: Contexts, site: str) -> None:
    page = open_context(base_url=site, **CLIPBOARD).new_page()
    said = opened(page, COST)
    quoted = one_line(said.locator("mark").text_content())
    said.get_by_role("button", name="Copy the link").click()
    expect(page.get_by_text("Link copied.")).to_be_visible()
    page.goto(str(page.evaluate("navigator.clipboard.readText()")))
    assert one_line(page.locator("mark").text_content()) == quoted


@pytest.mark.parametrize("where", ["summary", "figcaption a", "button"])
def test_escape_closes_the_evidence_and_the_focus_is_on_its_sentence(page: Page, where: str) -> None:
    said = opened(page, COST)
    said.locator(where).first.focus()
    page.keyboard.press("Escape")
    expect(said.locator("blockquote")).to_be_hidden()
    expect(said.locator("summary")).to_be_focused()


def test_all_evidence_is_opened_and_closed_at_once(page: Page) -> None:
    page.goto(asking(TOKENS))
    quotes = page.locator(".said blockquote")
    assert quotes.count() >= 3
    page.get_by_role("button", name="Open all evidence").click()
    assert all(quote.is_visible() for quote in quotes.all())
    page.get_by_role("button", name="Close all evidence").click()
    assert not any(quote.is_visible() for quote in quotes.all())
    expect(page.get_by_role("button", name="Open all evidence")).to_be_visible()


def test_an_abstention_says_so_why_and_what_comes_nearest(page: Page) -> None:
    page.goto(asking(UNSAID))
    section = page.locator(".abstained")
    expect(section.get_by_role("heading")).to_have_text("The corpus does not say.")
    expect(section).to_contain_text("names learning rate")
    expect(page.locator(".said")).to_have_count(0)
    expect(page.get_by_role("heading", name="What comes nearest")).to_be_visible()
    row = page.locator(".passages li").first
    excerpt = one_line(row.locator(".excerpt").text_content()).removesuffix(" …")
    title = one_line(row.locator(".title").text_content())
    row.get_by_role("link").first.click()
    page.wait_for_url("**/documents/**")
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    marks = one_line(" ".join(page.locator("mark").all_text_contents()))
    assert re.sub(r"\W|E\d{3}", "", marks).startswith(re.sub(r"\W|E\d{3}", "", excerpt))
    expect(page.locator("mark").first).to_be_in_viewport()


def test_every_link_of_an_abstention_leads_somewhere(page: Page, site: str) -> None:
    page.goto(asking(UNSAID))
    links = {link.get_attribute("href") or "" for link in page.locator(".nearest a, .keep a").all()}
    assert len(links) >= 6
    assert {link: status for link in links if (status := httpx.get(f"{site}{link}").status_code) != 200} == {}


def test_a_word_that_is_nowhere_in_the_corpus_is_named(page: Page) -> None:
    page.goto(asking("What does Zorblax cost?"))
    line = page.get_by_text("Nowhere in the corpus:")
    expect(line).to_be_visible()
    assert line.locator(".word").all_text_contents() == ["Zorblax"]


def test_a_follow_up_is_read_with_the_conversation(page: Page) -> None:
    page.goto(asking("What is ReasonMaxxer?"))
    question = "And how many rollouts does it need?"
    page.get_by_role("searchbox", name="Ask on").fill(question)
    page.get_by_role("searchbox", name="Ask on").press("Enter")
    expect(page.locator("p", has_text="Read as:")).to_have_text(f"Read as: {question} (about ReasonMaxxer)")
    expect(sentences(page).filter(has_text="only a few hundred rollouts")).to_have_count(1)
    page.get_by_role("link", name="What is ReasonMaxxer?").click()
    expect(page.get_by_role("searchbox", name="Your question")).to_have_value("What is ReasonMaxxer?")


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        (asking("x", episode="E999"), 400, "The corpus has no episode E999."),
        (asking("x" * 1500), 422, "at most 1000 are taken"),
        (asking("x" * 5000), 422, "at most 4000 characters"),
        (asking("???"), 422, "has no words"),
        ("/episodes/E999", 404, "The corpus has no episode E999."),
        ("/nothing", 404, "There is no such page"),
    ],
    ids=["an unknown episode", "too long", "far too long", "no words", "an episode that is not there", "no page"],
)
def test_what_cannot_be_is_said_calmly(page: Page, complaints: list[str], path: str, status: int, says: str) -> None:
    response = page.goto(path)
    assert response is not None
    assert response.status == status
    assert response.headers["content-type"].startswith("text/html")
    expect(page.locator("main")).to_contain_text(says)
    expect(page.get_by_role("alert")).to_have_count(1)
    page.get_by_role("navigation", name="Site").get_by_role("link", name="Episodes").click()
    expect(page.get_by_role("heading", name="Episodes")).to_be_visible()
    assert [c for c in complaints if f"status of {status}" not in c] == []
    complaints.clear()


def test_questions_are_kept_in_this_browser_and_forgotten_when_asked_to(page: Page) -> None:
    questions = [COST, UNSAID, TOKENS]
    for question in questions:
        page.goto(asking(question))
    page.goto("/")
    kept = page.get_by_role("region", name="Asked before").get_by_role("listitem")
    assert kept.get_by_role("link").all_text_contents() == questions[::-1]
    page.get_by_role("button", name=f"Forget “{UNSAID}”").click()
    assert kept.get_by_role("link").all_text_contents() == [TOKENS, COST]
    page.reload()
    expect(kept).to_have_count(2)
    with page.expect_navigation():  # until the page is whole: what keeps the question runs last
        kept.get_by_role("link", name=COST).click()
    expect(sentences(page).first).to_contain_text("about $25")
    page.goto("/")
    assert kept.get_by_role("link").all_text_contents() == [COST, TOKENS]
    page.get_by_role("button", name="Forget all").click()
    expect(page.get_by_role("heading", name="Asked before")).to_be_hidden()
    expect(page.get_by_role("searchbox", name="Your question")).to_be_focused()
    page.reload()
    expect(kept).to_have_count(0)


def test_nothing_that_is_kept_is_sent(page: Page) -> None:
    page.goto(asking(UNSAID))
    sent: list[Request] = []
    page.context.on("request", lambda request: sent.append(request))
    page.goto("/")
    page.get_by_role("button", name=f"Forget “{UNSAID}”").click()
    expect(page.get_by_role("heading", name="Asked before")).to_be_hidden()
    page.goto("/episodes")
    said = [(r.method, unquote(r.url), json.dumps(r.all_headers()), r.post_data) for r in sent]
    assert len(said) >= 3
    assert {method for method, *_ in said} == {"GET"}
    assert [row for row in said if "learning" in str(row) or "ReasonMaxxer" in str(row)] == []


def test_an_answer_is_copied_with_its_citations(open_context: Contexts, site: str) -> None:
    page = open_context(base_url=site, **CLIPBOARD).new_page()
    page.goto(asking(COST))
    page.get_by_role("button", name="Copy as Markdown").click()
    expect(page.get_by_text("Markdown copied.")).to_be_visible()
    copied = str(page.evaluate("navigator.clipboard.readText()"))
    assert f"{sentences(page).first.text_content()} [E026]" in copied
    assert "Sources:\n- E026 — What RL Actually Does" in copied


@pytest.mark.parametrize("options", [{}, NO_SCRIPT], ids=["a script", "no script"])
def test_an_answer_is_downloaded_as_the_api_gives_it(
    open_context: Contexts, site: str, options: dict[str, Any]
) -> None:
    page = open_context(base_url=site, **options).new_page()
    page.goto(asking(TOKENS))
    with page.expect_download() as download:
        page.get_by_role("link", name="Download JSON").click()
    assert download.value.suggested_filename == "answer.json"
    found = json.loads(download.value.path().read_text(encoding="utf-8"))
    wanted = httpx.post(f"{site}/v1/ask", json={"question": TOKENS}).json()
    assert set(found.pop("timings_ms")) == set(wanted.pop("timings_ms"))
    assert found == wanted


@pytest.mark.parametrize("page", [NO_SCRIPT], indirect=True)
def test_without_a_script_a_question_is_asked_answered_and_followed_to_its_place(page: Page) -> None:
    page.goto("/")
    page.get_by_role("searchbox", name="Your question").fill(COST)
    page.get_by_role("button", name="Ask").click()
    said = page.locator(".said").first
    said.locator("summary").click()
    quoted = one_line(said.locator("mark").text_content())
    for name in ("Copy as Markdown", "Open all evidence", "Copy the link"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    said.get_by_role("link", name="Read it in its place").click()
    assert one_line(page.locator("mark").text_content()) == quoted
    expect(page.locator("mark")).to_be_in_viewport()
