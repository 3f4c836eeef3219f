"""Pages over HTTP: what a browser is sent, with a library and an answerer of its own; tests/browser has the rest."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest
from fastapi import Response

from fakes import CORPUS, Writes, service_of
from live import eventually, live
from rag.answer.answerer import Answerer
from rag.assemble import Service
from rag.corpus.load import load
from rag.corpus.markers import DEFAULT_PATTERN
from rag.errors import IndexUnusable
from rag.records import Document, Paragraph
from rag.serve.app import create_app
from rag.serve.state import Current, State
from rag.serve.web.site import Site

TEXTS = ["episodes/E026.md", "episodes/E009.md", "reviews/rl-and-post-training-for-reasoning.md", "concepts/lora.md"]
ASK = "How much does the contrastive recipe cost?"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    documents = (d for d in load(CORPUS) if f"{d.id}.md" in TEXTS)
    return service_of(documents, tmp_path_factory.mktemp("library"), mapped=True)


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with live(create_app(lambda: service)) as url, closing(httpx.Client(base_url=url)) as client:
        eventually(lambda: client.get("/readyz").status_code == 200)
        client.headers["accept"] = "text/html,application/xhtml+xml,*/*;q=0.8"
        yield client


def words(page: httpx.Response) -> str:
    """What a page says, without its markup."""
    text = re.sub(r"<(script|head).*?</\1>|<[^>]*>", " ", page.text, flags=re.S)
    return " ".join(unescape(text).split())


def test_an_answer_stands_in_the_page_with_its_quote_and_where_it_is_from(client: httpx.Client) -> None:
    page = client.get("/", params={"q": ASK})
    assert page.status_code == 200
    said = words(page)
    assert "for about $25, the contrastive recipe is as accurate" in said
    assert "The episode's own summary says so of E026" in said
    assert "<mark>" in page.text
    assert "/documents/episodes/E026?quote=" in page.text


def test_which_of_several_questions_has_no_answer_stands_below_the_sentences_and_can_be_asked_alone(
    client: httpx.Client,
) -> None:
    page = client.get("/", params={"q": f"{ASK}? And what is a <b>zebra</b>?"}).text
    said, _, without = page.partition("<h2>Not answered</h2>")
    assert "the contrastive recipe is as accurate" in said
    assert "what is a &lt;b&gt;zebra&lt;/b&gt;?</a>" in without
    link = unescape(re.findall(r'<li><a href="(/\?q=[^"]*)">what is a', without)[0])
    assert "The corpus does not say." in client.get(link).text


def test_the_link_of_a_quote_leads_to_its_words(client: httpx.Client) -> None:
    page = client.get("/", params={"q": ASK})
    link = unescape(re.findall(r'href="(/documents/[^"]*\?quote=[^"]*)"', page.text)[0])
    quoted = re.findall(r"<mark>(.*?)</mark>", page.text, re.S)[0]
    assert f'<mark id="quote">{quoted}</mark>' in client.get(link).text


def test_a_link_whose_words_are_gone_says_so_and_shows_the_document(client: httpx.Client) -> None:
    page = client.get("/documents/episodes/E026?quote=0-12-00000000aaaaaaaaaa")
    assert page.status_code == 200
    assert "no longer in this text" in words(page)
    assert "<mark" not in page.text


@pytest.mark.parametrize("quote", ["1", "0-12", "9-9-x", "a" * 101, "-1-5-00000000aaaaaaaaaa"])
def test_a_link_that_is_none_is_refused_calmly(client: httpx.Client, quote: str) -> None:
    page = client.get("/documents/episodes/E026", params={"quote": quote})
    assert page.status_code in (400, 422)
    assert "<nav" in page.text


def test_the_json_of_an_answer_is_the_api_s(client: httpx.Client) -> None:
    wanted = client.post("/v1/ask", json={"question": ASK}).json()
    page = client.get("/", params={"q": ASK}).text
    inside = re.search(r'<script type="application/json" id="json">(.*?)</script>', page, re.S)
    assert inside is not None
    found = [json.loads(inside[1]), client.get("/answer.json", params={"q": ASK}).json()]
    for answer in (wanted, *found):
        answer.pop("timings_ms")
    assert found == [wanted, wanted]


HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} what does it cost"


@pytest.mark.parametrize("path", ["/", "/map", "/episodes", "/documents"])
def test_a_hostile_question_is_text_wherever_it_is_shown(client: httpx.Client, path: str) -> None:
    page = client.get(path, params={"q": HOSTILE}).text
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "49" not in re.findall(r'value="([^"]*)"', page)
    assert page.count("<script") == 1 + page.count('<script type="application/json"')


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/?q=%3F", 422, "has no words"),
        (f"/?q={'a' * 1500}", 422, "at most 1000"),
        (f"/?q={'a' * 5000}", 422, "at most 4000"),
        ("/?q=cost&episode=E999", 400, "no episode E999"),
        ("/?q=cost&generator=llm", 400, "No language model"),
        ("/episodes/E999", 404, "no episode E999"),
        ("/documents/reviews/none", 404, "No document"),
        ("/documents?kind=poem", 404, "poem"),
        ("/episodes?since=yesterday", 422, "Since"),
        ("/nothing", 404, "no such page"),
        ("/static/nothing.css", 404, "no such page"),
        ("/static/../render.py", 404, "no such page"),
    ],
)
def test_what_cannot_be_shown_is_a_page_that_says_why(client: httpx.Client, path: str, status: int, says: str) -> None:
    page = client.get(path)
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert says in words(page)
    assert "<nav" in page.text


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/episodes/E999", "*/*"), ("/v1/episodes/E999", "text/html"), ("/v1/nothing", "text/html, */*; q=.2")],
)
def test_the_api_and_whoever_does_not_ask_for_a_page_are_told_in_json(
    client: httpx.Client, path: str, accept: str
) -> None:
    found = client.get(path, headers={"accept": accept})
    assert (found.status_code, found.headers["content-type"]) == (404, "application/problem+json")
    assert (found.headers["vary"], found.headers["cache-control"]) == ("accept", "no-store")


@pytest.mark.parametrize("path", ["/", "/?q=cost", "/episodes", "/episodes/E026", "/map", "/docs"])
def test_a_page_s_head_can_be_asked_for(client: httpx.Client, path: str) -> None:
    found = client.head(path)
    assert (found.status_code, found.content) == (200, b"")


def test_a_file_is_kept_for_good_by_its_digest_alone(client: httpx.Client) -> None:
    link = re.findall(r'href="(/static/page.css[^"]*)"', client.get("/").text)[0]
    assert client.get(link).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/static/page.css?v=other").headers["cache-control"] == "no-cache"


def test_an_answer_is_kept_for_the_way_back_and_never_by_a_proxy(client: httpx.Client) -> None:
    headers = client.get("/", params={"q": ASK}).headers
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("private, no-cache", "no")


@pytest.mark.parametrize("more", [{}, {"episode": "E026"}, {"kind": "review"}])
def test_the_map_lights_up_what_the_answer_was_found_in(client: httpx.Client, more: dict[str, str]) -> None:
    def found(path: str) -> list[str]:
        page = client.get(path, params={"q": "what does e026 say about cost"} | more).text
        return re.findall(r'<li value="\d+">\s*<a href="([^"]*)"', page)

    assert found("/map") == found("/") != []


def test_a_link_back_to_an_earlier_question_keeps_where_to_look(client: httpx.Client) -> None:
    page = client.get("/", params={"q": "and its cost?", "after": ["reward hacking", " "], "episode": "E026"}).text
    assert re.findall(r'<a href="([^"]*)">reward hacking</a>', page) == ["/?q=reward+hacking&amp;episode=E026"]


def test_an_index_that_is_not_there_yet_is_a_page_that_tries_again() -> None:
    def missing() -> Service:
        raise IndexUnusable("index holds no index; build it with `rag index`")

    with live(create_app(missing)) as url:
        eventually(lambda: "holds no index" in httpx.get(url, headers={"accept": "text/html"}).text)
        page = httpx.get(url, headers={"accept": "text/html"})
        assert page.status_code == 503
        assert "<nav" in page.text


@pytest.mark.parametrize(
    "path", ["/", "/?q=cost", "/episodes", "/map", "/docs", "/static/page.js", "/nothing", "/v1/episodes"]
)
def test_nothing_may_be_loaded_from_elsewhere_or_run_inline(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_a_name_in_another_spelling_leads_to_the_episode(client: httpx.Client) -> None:
    found = client.get("/episodes/e026")
    assert (found.status_code, found.headers["location"]) == (307, "/episodes/E026")


def test_an_episode_shows_every_sentence_that_cites_it(client: httpx.Client) -> None:
    wanted = client.get("/v1/episodes/E026").json()["cited_by"]
    page = words(client.get("/episodes/E026"))
    assert f"{len(wanted)} sentences of other texts cite it" in page
    for row in wanted:
        assert " ".join(row["text"].split()) in re.sub(r"\s+([.,;:)\]])", r"\1", page), row["text"]


def test_an_episode_that_is_only_mentioned_has_a_page(client: httpx.Client) -> None:
    page = client.get("/episodes/E084")
    assert page.status_code == 200
    assert "The corpus has no summary of this episode" in words(page)


class Gate(Writes):
    """Writes a sentence, then waits to be let on; `left` says that it was told to stop meanwhile."""

    def __init__(self, *pieces: str) -> None:
        super().__init__(*pieces)
        self.on, self.left = threading.Event(), False

    def stream(self, messages: Any, limit: int, stop: Callable[[], bool]) -> Any:
        for number, piece in enumerate(super().stream(messages, limit, stop)):
            while number and not self.on.wait(0.01):
                if stop():
                    self.left = True
                    return
            yield piece


def test_a_sentence_is_sent_before_the_next_one_is_written(service: Service) -> None:
    first = (
        "Trained as a LoRA on 50 problems for about $25, the contrastive recipe is as accurate as full RL is on a 32B"
    )
    second = "The pipeline that the $25 run is compared with is costed at about $103,000."
    gate = Gate(f"{first} model.\n", f"{second}\n")
    slow = Service(service.library, service.retriever, service.answerer, DEFAULT_PATTERN, 10, cast(Any, gate))
    with live(create_app(lambda: slow)) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        with httpx.stream("GET", url, params={"q": ASK, "generator": "llm"}, timeout=10) as page:
            text = ""
            for piece in page.iter_text():
                text += piece
                if '<details class="said">' in text and not gate.on.is_set():
                    assert "is writing" in text
                    assert "</html>" not in text
                    gate.on.set()
    assert gate.on.is_set()
    assert text.rstrip().endswith("</html>")
    assert 'id="done"' in text


def test_an_answer_that_breaks_off_says_so_and_the_page_is_whole(service: Service) -> None:
    class Breaks:
        def stream(self, *_: Any, **__: Any) -> Iterator[Any]:
            yield from ()
            raise RuntimeError("secret internals")

        ask = service.answerer.ask

    broken = Service(service.library, service.retriever, cast(Answerer, Breaks()), DEFAULT_PATTERN)
    with live(create_app(lambda: broken)) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        page = httpx.get(url, params={"q": ASK})
    assert "The answer breaks off here: something went wrong here" in words(page)
    assert "secret" not in page.text
    assert page.text.rstrip().endswith("</html>")


def test_the_first_view_is_small(client: httpx.Client) -> None:
    page = client.get("/")
    parts = [page, *(client.get(link) for link in re.findall(r'(?:href|src)="(/static/[^"]*)"', page.text))]
    assert len(parts) == 4
    assert sum(len(part.content) for part in parts) < 100_000


def test_the_examples_are_answered(client: httpx.Client) -> None:
    links = re.findall(r'<li><a href="(/\?q=[^"]*)">', client.get("/").text)
    assert links
    assert all("The corpus does not say" not in client.get(unescape(link)).text for link in links)


def test_the_reference_has_every_operation_and_shape(client: httpx.Client) -> None:
    description = client.get("/openapi.json").json()
    page = client.get("/docs").text
    assert all(f"<code>{path}</code>" in page for path in description["paths"])
    assert all(f'id="{name}"' in page for name in description["components"]["schemas"])


def test_whoever_leaves_a_download_ends_the_model_s_work(service: Service) -> None:
    gate = Gate("A first sentence.\n", "A second sentence.\n")
    slow = Service(service.library, service.retriever, service.answerer, DEFAULT_PATTERN, 10, cast(Any, gate))
    with live(create_app(lambda: slow)) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{url}/answer.json", params={"q": ASK, "generator": "llm"}, timeout=0.5)
        eventually(lambda: gate.left)


def test_a_page_is_made_of_one_index_though_another_one_is_swapped_in(tmp_path: Path) -> None:
    def essay(text: str, kind: str) -> Document:
        return Document("one", kind, f"A {kind}", text, (Paragraph(0, len(text)),))

    old = service_of([essay("The walrus costs forty dollars E001.", "essay")], tmp_path / "old", "generation-A")
    new = service_of([essay("The ferry costs ten dollars E001.", "poem")], tmp_path / "new", "generation-B")
    state = State(lambda: old, lambda: None)
    state.opened = old
    site = Site(state)

    def make(current: Current) -> Response:
        state.opened = new
        return site.show(current, "reference.html", base="", operations=(), schemas=())

    text = bytes(anyio.run(site.page, make).body).decode()
    assert "generation-A" in text
    assert "Essay" in text
    assert "Poem" not in text


def measure(client: httpx.Client, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.M)
    return float(found[1]) if found else 0.0


def test_answers_are_counted_by_what_became_of_them_and_no_question_is_told(client: httpx.Client) -> None:
    answered, abstained = (
        f'rag_answers_total{{generator="extractive",outcome="{outcome}"}}' for outcome in ("answered", "abstained")
    )
    before = measure(client, answered), measure(client, abstained)
    client.get("/", params={"q": ASK})
    client.post("/v1/ask", json={"question": ASK})
    client.post("/v1/ask", json={"question": "What does E999 say of zebras?"})
    assert (measure(client, answered) - before[0], measure(client, abstained) - before[1]) == (2, 1)
    assert measure(client, 'rag_stage_seconds_count{stage="retrieve"}') >= 3
    assert measure(client, 'rag_index_passages{generation="generation-1"}') > 0
    assert "zebras" not in client.get("/metrics").text


def test_what_is_dropped_of_a_draft_is_counted_by_why(service: Service) -> None:
    lies = cast(Any, Writes("The recipe was devised in Paris and costs $900.\n"))
    lying = Service(service.library, service.retriever, service.answerer, DEFAULT_PATTERN, 10, lies)
    with live(create_app(lambda: lying)) as url, httpx.Client(base_url=url) as client:
        eventually(lambda: client.get("/readyz").status_code == 200)
        client.post("/v1/ask", json={"question": ASK, "generator": "llm"})
        dropped = re.findall(r'rag_dropped_sentences_total\{objection="\w+"\} (\S+)', client.get("/metrics").text)
        assert sum(map(float, dropped)) == 1
