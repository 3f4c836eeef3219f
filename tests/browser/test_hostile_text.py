"""A corpus whose every word would be markup, and questions of the kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest
from msgspec import structs

from browser.contexts import NO_SCRIPT, Contexts, asking, expect
from live import eventually, live
from rag.assemble import open_service
from rag.corpus.load import load
from rag.errors import CorpusError
from rag.index.build import build
from rag.index.export import EncoderChoice
from rag.index.store import IndexFolder
from rag.serve.app import create_app
from rag.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(2)>"
CLOSING = "</title></textarea></script></svg></select>"
QUOTES = "\"'`"
TEMPLATE = "{{ 7*7 }}{% raw %}"
TURNED = "\u202eright to left"

HEADING = f"Oven {IMAGE} {TEMPLATE}"
TITLE = f"Bread {SCRIPT}{CLOSING}{QUOTES}{TEMPLATE}{TURNED}"
TOPIC = f"baking{QUOTES}>{IMAGE}"
EPISODE = "E777<b>"
ID = f"notes/a?b#c%2F{QUOTES}><b>é &amp; &"
KIND = "<i>note</i>"
PATTERN = r"E\d{3}(?:<b>)?"
PROSE = (
    f"The dough doubles {SCRIPT} in two hours {IMAGE} at the bakery {EPISODE}. "
    f"The oven {CLOSING} reaches 250 degrees {TEMPLATE} before the loaf {TURNED} goes in "
    f"[{EPISODE}](javascript:alert(3)). "
    "The crumb <svg onload=alert(4)> cools for one hour &lt;u&gt; on a rack ![x](http://example.org/x.png)."
)
QUESTION = "How long until the dough doubles?"


def yaml(text: str) -> str:
    """A string in single quotes."""
    return "'" + text.replace("'", "''") + "'"


def note(front: dict[str, str], text: str = PROSE) -> str:
    lines = [f"{name}: {value}" for name, value in front.items()]
    return "\n".join(["---", *lines, "---", "", f"# {escape(HEADING)}", "", text, ""])


@pytest.fixture(scope="module")
def hostile(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server over a small corpus that means harm."""
    folder = tmp_path_factory.mktemp("hostile")
    corpus = folder / "corpus"
    corpus.mkdir()
    shared = {"title": yaml(TITLE), "topics": f"[{yaml(TOPIC)}]", "authors": yaml(IMAGE), "paper": yaml(SCRIPT)}
    asked = f"questions: [{{ask: {yaml(f'Does {IMAGE} dough double?')}, answer: 'The dough doubles'}}]"
    (corpus / "episode.md").write_text(
        note(
            {**shared, "id": yaml(EPISODE), "kind": "episode", "date": "2026-05-01", "url": "https://example.org/'><b>"}
        ).replace("---\n\n", f"{asked}\n---\n\n", 1),
        encoding="utf-8",
    )
    (corpus / "note.md").write_text(note({**shared, "id": yaml(ID), "kind": yaml(KIND)}), encoding="utf-8")
    (corpus / "script.md").write_text(note({"url": "javascript:alert(1)"}), encoding="utf-8")
    (corpus / "nul.md").write_text("The dough has a NUL \0 in it.", encoding="utf-8")
    refused: list[CorpusError] = []
    build(
        load(corpus, id_pattern=PATTERN, on_bad=refused.append),
        IndexFolder(folder / "index"),
        encoder=EncoderChoice(**structs.asdict(settings.encoder)),
        id_pattern=PATTERN,
        donors=[IndexFolder(settings.index)],
    )
    assert sorted(Path(error.path).name for error in refused) == ["nul.md", "script.md"]
    mine = structs.replace(settings, index=folder / "index")
    with live(create_app(lambda: open_service(mine))) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        yield url


@pytest.fixture
def dialogs() -> list[str]:
    return []


@pytest.fixture
def page(open_context: Contexts, hostile: str, dialogs: list[str], request: pytest.FixtureRequest) -> Page:
    page = open_context(base_url=hostile, **getattr(request, "param", {})).new_page()

    def hear(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", hear)
    return page


OURS = """html head title meta link script body a header nav main footer p h1 h2 h3 h4 form label input button select
option details summary div span figure figcaption blockquote mark meter textarea section article ul ol li dl dt dd
time strong code pre table thead tbody tr th td svg g path line circle text"""


def made(page: Page) -> list[str]:
    """Elements that no page of ours has, attributes that would run, and addresses that are none."""
    found: list[str] = page.evaluate(
        """ours => [...document.querySelectorAll("*")].filter(one =>
                !ours.split(/\\s+/).includes(one.localName)
                || one.getAttributeNames().some(name => name.startsWith("on"))
                || one.localName === "script" && !one.src && one.type !== "application/json"
                || ["href", "src", "action"].some(name => /^\\s*(javascript|data):/i.test(one.getAttribute(name) ?? ""))
            ).map(one => one.outerHTML.slice(0, 120))""",
        OURS,
    )
    return found


PLACES = [
    "/",
    asking(QUESTION),
    asking("What is the learning rate of the moon?"),
    asking("And then?", after=QUESTION),
    asking(QUESTION, topic=TOPIC),
    asking(QUESTION, episode=EPISODE),
    asking(QUESTION, kind=KIND),
    "/episodes",
    f"/episodes?topic={quote(TOPIC)}",
    f"/episodes/{quote(EPISODE)}",
    f"/documents/{quote(ID)}",
    "/documents",
    f"/documents?kind={quote(KIND)}",
    "/map",
    "/map?q=dough",
]


def shown(page: Page, path: str) -> tuple[int, list[str]]:
    """The status of a page, and what there is on it that must not be, with all that can be opened open."""
    response = page.goto(path)
    assert response is not None
    page.locator("details").evaluate_all("all => all.forEach(details => details.open = true)")
    return response.status, made(page)


def test_what_the_corpus_says_is_text(page: Page, dialogs: list[str]) -> None:
    assert {path: found for path in PLACES if (found := shown(page, path)) != (200, [])} == {}
    assert dialogs == []


@pytest.mark.parametrize("page", [NO_SCRIPT], indirect=True)
def test_the_words_themselves_are_shown_as_they_are_written(page: Page) -> None:
    page.goto(f"/episodes/{quote(EPISODE)}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Bread {SCRIPT}{CLOSING}{QUOTES}{TEMPLATE}")
    expect(page.get_by_role("heading", name=HEADING)).to_be_visible()
    prose = page.locator(".prose")
    for part in (SCRIPT, IMAGE, CLOSING, TEMPLATE, "<svg onload=alert(4)>", "&lt;u&gt;"):
        expect(prose).to_contain_text(part)
    expect(page.get_by_role("link", name=TOPIC)).to_be_visible()
    expect(page.get_by_role("link", name="https://example.org/'><b>")).to_have_attribute("rel", re.compile("noopener"))


TURNED_ROUND = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const word = /[A-Za-z]{2}/.exec(node.data), own = node.parentElement.closest(".claim, mark") ?? node;
        if (!word || own.textContent.includes("\u202e")) continue;
        const [a, b] = [0, 1].map(at => {
            const range = document.createRange();
            range.setStart(node, word.index + at);
            range.setEnd(node, word.index + at + 1);
            return range.getBoundingClientRect();
        });
        if (a.width && b.width && a.top === b.top && b.left < a.left) found.push(node.data.trim());
    }
    return found;
}"""


def test_text_that_turns_round_turns_nothing_else(page: Page) -> None:
    turned = {}
    for path in PLACES:
        shown(page, path)
        if found := page.evaluate(TURNED_ROUND):
            turned[path] = found
    assert turned == {}


def test_one_finds_the_way_from_a_question_to_a_document_with_a_hostile_name(page: Page, dialogs: list[str]) -> None:
    page.goto(asking(QUESTION, kind=KIND))
    page.locator("summary", has_text="The dough doubles").first.click()
    page.get_by_role("link", name="Read it in its place").first.click()
    page.wait_for_url("**/documents/**")
    expect(page.locator("mark").first).to_contain_text(f"The dough doubles {SCRIPT} in two hours {IMAGE}")
    page.locator("mark").first.get_by_role("link", name=EPISODE).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(EPISODE)
    page.get_by_role("navigation", name="Site").get_by_role("link", name=KIND).click()
    page.locator("#entries").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(SCRIPT)
    assert dialogs == []


def test_a_list_is_filtered_by_a_hostile_topic(page: Page) -> None:
    page.goto("/documents")
    page.get_by_role("combobox", name="Topic").select_option(label=TOPIC)
    expect(page.get_by_role("status")).to_have_text("2 of 2")
    page.get_by_role("searchbox", name="Search").fill(IMAGE)
    page.reload()
    expect(page.get_by_role("searchbox", name="Search")).to_have_value(IMAGE)
    assert made(page) == []


HOSTILE = f"why {SCRIPT}{IMAGE}{CLOSING}{QUOTES}{TEMPLATE}{TURNED} <a href=javascript:alert(5)>dough</a>\x01"


def test_what_the_address_says_is_text(page: Page, dialogs: list[str]) -> None:
    places = [
        asking(HOSTILE),
        asking(f"{HOSTILE}\0"),
        asking("And then?", after=HOSTILE),
        asking(QUESTION, topic=HOSTILE),
        asking(QUESTION, kind=HOSTILE),
        f"/map?q={quote(HOSTILE)}",
        f"/episodes?q={quote(HOSTILE)}",
        f"/episodes?topic={quote(HOSTILE)}",
    ]
    assert {path: found for path in places if (found := shown(page, path)) != (200, [])} == {}
    assert dialogs == []


def test_what_is_refused_is_repeated_as_text(page: Page, dialogs: list[str], complaints: list[str]) -> None:
    places = {
        f"/episodes/{quote(HOSTILE, safe='')}": 404,
        f"/documents/{quote(HOSTILE, safe='')}": 404,
        f"/documents?kind={quote(HOSTILE)}": 404,
        f"/episodes?since={quote(HOSTILE)}": 422,
        f"/documents/{quote(ID)}?quote={quote(IMAGE)}": 400,
        asking(QUESTION, episode=HOSTILE): 400,
        asking(QUESTION, generator=HOSTILE): 422,
        f"/{quote(HOSTILE)}": 404,
    }
    for path, status in places.items():
        assert shown(page, path) == (status, []), path
        expect(page.get_by_role("alert")).to_be_visible()
    assert dialogs == []
    assert [c for c in complaints if not re.search("status of 4(00|04|22)", c)] == []
    complaints.clear()


def test_a_hostile_question_is_shown_as_it_was_typed_wherever_it_is_shown(page: Page, dialogs: list[str]) -> None:
    question = f"why {SCRIPT}{IMAGE}{QUOTES} {TEMPLATE}"
    page.goto(asking(question, kind=KIND))
    expect(page.get_by_role("searchbox", name="Your question")).to_have_value(question)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Answer to: {question}")
    assert page.title().startswith("why <script>alert(1)</script><img")
    page.get_by_role("searchbox", name="Ask on").fill(question)
    page.get_by_role("searchbox", name="Ask on").press("Enter")
    page.wait_for_url("**after=**")
    expect(page.locator("p", has_text="After:").get_by_role("link", name=question)).to_be_visible()
    expect(page.locator("input[name=after]")).to_have_count(2)
    assert {one.get_attribute("value") for one in page.locator("input[name=after]").all()} == {question}
    page.goto("/")
    expect(page.get_by_role("region", name="Asked before").get_by_role("link").first).to_have_text(question)
    assert made(page) == []
    page.get_by_role("region", name="Asked before").get_by_role("link").last.click()
    expect(page.get_by_role("searchbox", name="Your question")).to_have_value(question)
    assert dialogs == []


def test_a_history_that_somebody_else_wrote_is_harmless(page: Page, dialogs: list[str]) -> None:
    page.goto("/")
    rows = (
        '[{"q": "<img src=x onerror=alert(6)>", "search": "javascript:alert(7)"}, null, 7, {"q": 1, "search": "?q=1"}]'
    )
    page.evaluate("rows => localStorage.setItem('asked', rows)", rows)
    page.reload()
    link = page.get_by_role("region", name="Asked before").get_by_role("link")
    expect(link).to_have_text(["<img src=x onerror=alert(6)>"])
    link.click()
    assert made(page) == []
    page.evaluate("localStorage.setItem('asked', '{')")
    page.goto("/")
    expect(page.get_by_role("heading", name="Asked before")).to_be_hidden()
    assert dialogs == []
