"""Pages of corpora that are not as ours is."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html import unescape
from pathlib import Path

import httpx
import pytest

from fakes import service_of
from live import eventually, live
from rag.corpus.load import load
from rag.serve.app import create_app

Open = Callable[[dict[str, str]], httpx.Client]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Open]:
    """Serves a corpus of the files given."""
    with ExitStack() as stack:

        def serve(files: dict[str, str]) -> httpx.Client:
            for name, text in files.items():
                path = tmp_path / "corpus" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            service = service_of(load(tmp_path / "corpus"), tmp_path)
            url = stack.enter_context(live(create_app(lambda: service)))
            client = stack.enter_context(httpx.Client(base_url=url, headers={"accept": "text/html"}))
            eventually(lambda: client.get("/readyz").status_code == 200)
            return client

        yield serve


def links(page: httpx.Response) -> list[str]:
    return [unescape(link) for link in re.findall(r'href="(/[^"]*)"', page.text) if not link.startswith("/static")]


def test_every_link_of_every_list_leads_somewhere(serving: Open) -> None:
    client = serving(
        {
            "episodes/E001.md": "---\nid: E001\ntopics: [a|b, straße]\n---\nThe run cost $5.\n",
            "episodes/special.md": "---\ntitle: A special\n---\nIt has no number.\n",
            "transcripts/E002.md": "---\nepisode: E002\ntitle: Spoken\n---\nWe talk of E003.\n",
            "essays/w h?a#t%.md": "---\ntitle: <b>Odd</b>\n---\nIt cites E001.\n",
        }
    )
    seen, left = set[str](), ["/"]
    while left:
        link = left.pop()
        page = client.get(link, follow_redirects=True)
        assert page.status_code == 200, link
        seen.add(link)
        if "text/html" in page.headers["content-type"] and len(seen) < 200:
            left += [found for found in links(page) if found not in seen and found not in left]
    assert {"/episodes/E001", "/episodes/E002", "/episodes/E003", "/documents/episodes/special"} <= seen


def test_tables_and_code_are_shown_as_they_stand(serving: Open) -> None:
    table = "| run | cost |\n|---|---|\n| one | <b>$5</b> |\n\n```\nmake run\n```"
    page = (
        serving({"essays/a.md": f"# Costs\n\nIt cost little E001.\n\n{table}\n\n- An item.\n"})
        .get("/documents/essays/a")
        .text
    )
    raw = re.findall(r'<pre class="raw"[^>]*>(.*?)</pre>', page, re.S)
    assert [unescape(text) for text in raw] == [table]
    assert "<b>" not in page


def test_sections_of_one_name_stay_apart(serving: Open) -> None:
    page = serving({"essays/a.md": "## Sub\n\nOne.\n\n## Sub\n\nTwo.\n"}).get("/documents/essays/a").text
    assert page.count("<h2>Sub</h2>") == 2


def test_a_quote_amid_a_long_paragraph_is_shown_with_what_is_around_it_alone(serving: Open) -> None:
    around = " ".join(f"Sentence number {n} is filler." for n in range(200))
    client = serving({"essays/a.md": f"{around} The walrus costs forty dollars E001. {around}\n"})
    page = client.get("/", params={"q": "What does the walrus cost?"}).text
    shown = re.findall(r"<blockquote>(.*?)</blockquote>", page, re.S)
    assert "walrus" in shown[0]
    assert len(shown[0]) < 1000
    assert shown[0].count("…") == 2


def test_a_document_without_a_title_is_called_by_its_id(serving: Open) -> None:
    client = serving({"rows.jsonl": '{"id": "b1", "title": "", "text": "The walrus costs forty dollars E001."}\n'})
    assert "<h1>b1</h1>" in client.get("/documents/b1").text
    assert '<span class="title">b1</span>' in client.get("/documents").text
    assert ">b1</a></figcaption>" in client.get("/", params={"q": "What does the walrus cost?"}).text
    assert ">b1</a> " in client.get("/episodes/E001").text


def test_a_sentence_far_from_its_marker_is_carried_over_from_an_earlier_one(serving: Open) -> None:
    page = serving({"reviews/a.md": "It cost $5 E001. It was cheap. It was quick.\n"}).get("/documents/reviews/a").text
    assert re.findall(r"carried over from ([^:<]*):", page) == ["the sentence before", "an earlier sentence"]


def test_an_index_without_a_map_says_how_to_get_one(serving: Open) -> None:
    client = serving({"reviews/a.md": "It cost $5 E001.\n"})
    assert "This index holds no map" in client.get("/map").text
    assert "/map?" not in client.get("/", params={"q": "What did it cost?"}).text
