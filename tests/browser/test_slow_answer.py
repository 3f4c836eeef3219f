"""An answer that a language model is still writing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from browser.contexts import CALM, NO_SCRIPT, Contexts, asking, expect
from fakes import Writes
from live import eventually, live
from rag.assemble import Service, open_service
from rag.records import Message
from rag.serve.app import create_app
from rag.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

QUESTION = "How much does the contrastive recipe cost?"
FIRST = (
    "Trained as a LoRA on 50 problems for about $25, the contrastive recipe is as accurate as full RL is on a 32B "
    "model."
)
SECOND = (
    "The pipeline that the $25 run is compared with is costed at about $103,000, roughly four thousand times as much."
)
LIE = "The recipe was devised in Paris and costs $900."


class Slow(Writes):
    """Waits between its pieces until it is let on, or told to stop."""

    name = "a slow model"

    def __init__(self, *pieces: str, name: str = name) -> None:
        super().__init__(*pieces)
        self.name, self.on = name, threading.Event()

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> Generator[str, None, None]:
        pieces = super().stream(messages, limit, stop)
        try:
            for number, piece in enumerate(pieces):
                while number and not self.on.wait(0.02):
                    if stop():
                        return
                yield piece
        finally:
            pieces.close()


@pytest.fixture(scope="module")
def service(settings: Settings) -> Service:
    return open_service(settings)


Serve = Callable[[Slow], str]


@pytest.fixture
def serve(service: Service) -> Iterator[Serve]:
    """The address of a server whose answers a model may write; it is let on in the end."""
    with ExitStack() as stack:

        def serve(model: Slow) -> str:
            url = stack.enter_context(live(create_app(lambda: replace(service, generator=model))))
            stack.callback(model.on.set)
            import httpx

            eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
            return url

        yield serve


Ask = Callable[..., "Page"]


@pytest.fixture
def ask(serve: Serve, open_context: Contexts) -> Ask:
    """The page of an answer that a model has begun to write."""

    def ask(model: Slow, **options: Any) -> Page:
        page = open_context(base_url=serve(model), **options).new_page()
        page.goto(asking(QUESTION, generator="llm"), wait_until="commit")
        return page

    return ask


@pytest.mark.parametrize("options", [{}, NO_SCRIPT], ids=["a script", "no script"])
def test_a_sentence_is_read_while_the_next_is_written(
    serve: Serve, open_context: Contexts, options: dict[str, Any]
) -> None:
    model = Slow(f"{FIRST}\n", f"{SECOND}\n")
    page = open_context(base_url=serve(model), **options).new_page()
    page.goto("/")
    page.get_by_role("combobox", name="Worded by").select_option(label="a slow model, checked")
    page.get_by_role("searchbox", name="Your question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click(no_wait_after=True)
    said, writing = page.locator("summary .text"), page.get_by_text("a slow model is writing")
    expect(said).to_have_text([FIRST])
    expect(writing).to_be_visible()
    assert not model.on.is_set()
    model.on.set()
    expect(said).to_have_text([FIRST, SECOND])
    expect(writing).to_be_hidden()
    expect(page.get_by_role("searchbox", name="Ask on")).to_be_visible()
    expect(page.get_by_role("combobox", name="Worded by").first).to_have_value("llm")


def test_evidence_can_be_read_while_the_next_sentence_is_written(ask: Ask) -> None:
    page = ask(Slow(f"{FIRST}\n", f"{SECOND}\n"))
    page.locator("summary", has_text="for about $25").click()
    expect(page.locator("mark")).to_be_visible()
    expect(page.get_by_text("a slow model is writing")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("mark")).to_be_hidden()


def test_what_the_corpus_does_not_say_is_never_shown(ask: Ask) -> None:
    model = Slow(f"{LIE}\n{FIRST}\n", f"{LIE}\n")
    page = ask(model)
    expect(page.locator("summary .text")).to_have_text([FIRST])
    assert "Paris" not in page.content()
    model.on.set()
    expect(page.get_by_role("searchbox", name="Ask on")).to_be_visible()
    assert "Paris" not in page.content()
    assert "$900" not in page.content()
    expect(page.get_by_text("1 left out because no quote supports them")).to_be_visible()


@pytest.mark.parametrize("options", [{}, NO_SCRIPT], ids=["a script", "no script"])
def test_nothing_that_a_model_writes_is_markup(ask: Ask, options: dict[str, Any]) -> None:
    hostile = (
        f"<script>alert(1)</script>{SECOND}\n<img src=x onerror=alert(1)>{LIE}\n"
        f"[{SECOND}](javascript:alert(1))\n</script><svg onload=alert(1)>{SECOND}</main>\n{{{{ 7*7 }}}}\n"
    )
    page = ask(model := Slow(f"{FIRST}\n", hostile, name="<img src=x onerror=alert(2)>"), **options)
    dialogs: list[str] = []

    def hear(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", hear)
    expect(page.get_by_text("<img src=x onerror=alert(2)> is writing")).to_be_visible()
    model.on.set()
    expect(page.get_by_role("searchbox", name="Ask on")).to_be_visible()
    assert page.locator("summary .text").count()
    assert page.locator("img, main script:not(#json), main svg:not(.map), a[href^='javascript']").count() == 0
    assert "alert(1)" not in (page.locator("main").text_content() or "")
    assert dialogs == []


def test_a_reader_stops_the_model_and_keeps_what_was_said(ask: Ask) -> None:
    model = Slow(f"{FIRST}\n", f"{SECOND}\n")
    page = ask(model)
    expect(page.locator("summary .text")).to_have_text([FIRST])
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped")).to_be_visible()
    expect(page.get_by_text("is writing")).to_be_hidden()
    assert page.evaluate("document.getAnimations().length") == 0  # nothing looks busy any more
    eventually(lambda: model.closed)
    expect(page.locator("summary .text")).to_have_text([FIRST])


def test_a_reader_who_leaves_stops_the_model(ask: Ask) -> None:
    model = Slow(f"{FIRST}\n", f"{SECOND}\n")
    page = ask(model)
    expect(page.locator("summary .text")).to_have_text([FIRST])
    page.get_by_role("link", name="Episodes").click()
    eventually(lambda: model.closed)
    expect(page.get_by_role("heading", name="Episodes")).to_be_visible()


def test_nothing_moves_for_a_reader_who_wants_calm(ask: Ask) -> None:
    page = ask(Slow(f"{FIRST}\n", f"{SECOND}\n"), **CALM)
    expect(page.get_by_text("a slow model is writing")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
