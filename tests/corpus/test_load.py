"""Files as they are found in the wild, and the documents they become."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.corpus.load import load
from rag.corpus.markdown import scan, under_headings
from rag.corpus.source import MAX_BYTES, newlines
from rag.corpus.split import SplitValues, index_text, split, term_text
from rag.errors import CorpusError, UserError
from rag.records import Document

SEED = Path(__file__).parents[2].parent / "shared" / "seed" / "review-page.txt"
Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write files below a fresh corpus; give its folder."""

    def files(contents: dict[str, str | bytes]) -> Path:
        for name, content in contents.items():
            path = tmp_path / "corpus" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / "corpus"

    return files


def one(root: Path, **options: Any) -> Document:
    (document,) = load(root, **options)
    return document


def prose(document: Document) -> list[tuple[str, str]]:
    return [(p.heading, " ".join(document.text[p.start : p.end].split())) for p in document.paragraphs]


def refusal(root: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        list(load(root))
    return str(caught.value).removeprefix(f"{root.as_posix()}/")


# --- which files, in which order


def test_documents_come_sorted_by_path_and_other_files_are_passed_over(put: Put) -> None:
    root = put(
        {
            "reviews/b.md": "b",
            "reviews/a.txt": "Some text.",
            "episodes/E026.md": "x",
            "notes.MD": "n",
            "README.md": "r",
            "reviews/readme.txt": "r",
            ".hidden.md": "h",
            ".git/x.md": "g",
            "picture.png": b"\x89PNG\0",
        }
    )
    assert [d.id for d in load(root)] == ["episodes/E026", "notes", "reviews/a", "reviews/b"]


def test_a_single_file_is_a_corpus(put: Put) -> None:
    assert one(put({"reviews/a.md": "Text."}) / "reviews/a.md").id == "a"


def test_a_file_named_outright_and_its_folder_know_what_folder_they_stand_in(put: Put) -> None:
    root = put({"episodes/E026.md": "Text."})
    for start in (root, root / "episodes", root / "episodes" / "E026.md"):
        assert (one(start).kind, one(start).episode) == ("episode", "E026")


@pytest.mark.parametrize("make", [lambda root: root / "absent", lambda root: root])
def test_a_missing_or_empty_root_says_what_was_looked_for(put: Put, make: Callable[[Path], Path]) -> None:
    root = make(put({"README.md": "nothing else"}))
    with pytest.raises(UserError, match=r"looked for (documents in|files ending in \.atom, )"):
        list(load(root))


def test_a_link_out_of_the_corpus_is_refused_and_one_within_is_read(put: Put, tmp_path: Path) -> None:
    root = put({"a.md": "Inside."})
    (tmp_path / "secret.md").write_text("Outside.")
    (root / "b.md").symlink_to(root / "a.md")
    assert [d.id for d in load(root)] == ["a", "b"]
    (root / "c.md").symlink_to(tmp_path / "secret.md")
    assert refusal(root) == "c.md:1: a link that leads out of the corpus, or nowhere; put a copy in its place"
    (root / "c.md").unlink()
    (tmp_path / "elsewhere").mkdir()
    (root / "d").symlink_to(tmp_path / "elsewhere")
    assert refusal(root).startswith("d:1: a link that leads out")


def test_a_link_that_leads_nowhere_or_in_a_circle_is_refused(put: Put) -> None:
    root = put({"z.md": "z"})
    (root / "a.md").symlink_to("absent.md")
    assert refusal(root).startswith("a.md:1: a link")
    (root / "a.md").unlink()
    (root / "a.md").symlink_to("a.md")
    assert refusal(root).startswith("a.md:1: a link")


def test_a_pipe_is_refused_and_not_waited_for(put: Put) -> None:
    root = put({"z.md": "z"})
    os.mkfifo(root / "a.md")
    assert refusal(root) == "a.md:1: not a regular file; remove it from the corpus"


def test_a_file_over_the_limit_is_refused(put: Put) -> None:
    root = put({"a.md": "a"})
    with (root / "a.md").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert refusal(root) == "a.md:1: larger than 16 MiB; split it into smaller files"


def test_bad_files_rows_and_entries_are_reported_and_the_rest_is_read(put: Put) -> None:
    root = put({"a.md": "---\ntitle: [\n---\n", "b.jsonl": '{"text": "one"}\nnope\n{"text": "three"}', "c.md": "Text."})
    bad: list[CorpusError] = []
    assert [d.id for d in load(root, on_bad=bad.append)] == ["b#1", "b#3", "c"]
    assert [(Path(error.path).name, error.line) for error in bad] == [("a.md", 3), ("b.jsonl", 2)]


def test_a_corpus_of_which_nothing_can_be_read_is_no_empty_corpus(put: Put) -> None:
    with pytest.raises(UserError, match="none of its documents can be read"):
        list(load(put({"a.md": ""}), on_bad=lambda error: None))


# --- bytes to text


def test_byte_order_marks_and_line_ends_go_and_all_other_characters_stay(put: Put) -> None:
    said = "Caf\u0065\u0301 \u2028 at \ufb01rst.\u00a0 \n\nTwo.\n"
    for data in (b"\xef\xbb\xbf" + said.replace("\n", "\r\n").encode(), said.replace("\n", "\r").encode("utf-16")):
        assert one(put({"a.md": data})).text == said
        assert one(put({"a.md": data}), id_pattern="x").paragraphs[1].start == said.index("Two")


def test_bytes_that_are_no_utf_8_are_named_with_their_line_and_a_mend(put: Put) -> None:
    root = put({"my file.md": b"one\r\ntwo\r\ncaf\xe9 three"})
    said = refusal(root)
    assert said.startswith("my file.md:3: byte 0xe9 is not UTF-8; iconv -f WINDOWS-1252 -t UTF-8 '")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"one\n\0", "a.md:2: a NUL byte"), (b"", "a.md:1: the file is empty"), (b" \r\n\t", "a.md:1: the file is empty")],
)
def test_binary_and_empty_files_are_refused(put: Put, data: bytes, said: str) -> None:
    assert refusal(put({"a.md": data})).startswith(said)


@given(st.text(alphabet="a \r\n\u2028\x0b\x85"))
def test_normalising_line_ends_twice_is_doing_it_once(text: str) -> None:
    assert newlines(newlines(text)) == newlines(text)
    assert "\r" not in newlines(text)


# --- front matter


FRONT = """---
title: "No: really"
kind: Review
date: 2026-5-1
recorded: 2026-05-02 10:00:00
topics: RL, agents
url: https://example.org/r
score: 0.5
hosts: [Ann, Bo]
links: {arxiv: 2605.00001}
---
# No: really

Body.
"""


def test_front_matter_gives_the_fields_and_all_of_it_is_metadata_fit_for_json(put: Put) -> None:
    document = one(put({"a.md": FRONT}))
    assert (document.title, document.kind, document.date) == ("No: really", "review", "2026-05-01")
    assert (document.topics, document.url) == (("RL", "agents"), "https://example.org/r")
    assert document.text == "# No: really\n\nBody.\n"
    assert prose(document) == [("", "Body.")]
    assert json.loads(json.dumps(document.metadata)) == {
        "title": "No: really",
        "kind": "Review",
        "date": "2026-05-01",
        "recorded": "2026-05-02T10:00:00",
        "topics": "RL, agents",
        "url": "https://example.org/r",
        "score": 0.5,
        "hosts": ["Ann", "Bo"],
        "links": {"arxiv": 2605.00001},
    }


def test_values_that_yaml_would_twist_are_kept_as_written(put: Put) -> None:
    document = one(put({"a.md": "---\nid: 026\ntitle: No\nurl:\n---\nText."}))
    assert (document.id, document.title, document.url) == ("026", "No", None)


def test_an_episodes_id_names_the_episode_and_any_other_the_document(put: Put) -> None:
    root = put({"x/a.md": "---\nid: E026\n---\nText.", "x/b.md": "---\nid: my-review\n---\nText."})
    assert [(d.id, d.episode) for d in load(root)] == [("x/a", "E026"), ("my-review", None)]


def test_an_episodes_folder_or_kind_gives_the_episode_by_the_files_name(put: Put) -> None:
    root = put(
        {
            "episodes/E026.txt": "Text.",
            "episodes/about.md": "Text.",
            "other/E027.md": "---\nkind: episode\n---\nText.",
            "other/E028.md": "Text.",
            "summaries/E029.md": "Text.",
        }
    )
    assert [(d.kind, d.episode) for d in load(root)] == [
        ("episode", "E026"),
        ("episode", None),
        ("episode", "E027"),
        ("document", None),
        ("summary", None),
    ]


def test_any_id_scheme_will_do(put: Put) -> None:
    assert one(put({"episodes/ep-7.md": "Text."}), id_pattern=r"ep-\d+").episode == "ep-7"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("title: a: b", "a.md:2: front matter: mapping values are not allowed here; mend the YAML"),
        ("title: x\ndate: soon", "a.md:3: date: 'soon' is no date; write it as 2026-05-31"),
        ("title: x\ndate: 2026-13-45", "a.md:3: date: '2026-13-45' is no date; write it as 2026-05-31"),
        ("date: 2026", "a.md:2: date: '2026' is no date"),
        ("x: 1\ny: 2026-13-45", "a.md:3: front matter: month must be in 1..12"),
        ("title: [a, b]", "a.md:2: title: ['a', 'b'] is no text; write it in quotes"),
        ("topics: {a: b}", "a.md:2: topics: {'a': 'b'} is no list; write [one, two]"),
        ("url: javascript:alert(1)", "a.md:2: url: 'javascript:alert(1)' is no web address"),
        ("episode: twelve", "a.md:2: episode: 'twelve' does not match the ID pattern"),
        ("x: .nan", "a.md:2: x: nan is not a string, number"),
        ("x: !!set {a}", "a.md:2: x: {'a'} is not a string, number"),
        ("x: !!python/object/apply:os.system [ls]", "a.md:2: front matter: could not determine a constructor"),
        (
            "x: 1\nquestions:\n- ask: how much?",
            "a.md:3: questions: {'ask': 'how much?'} lacks ask or answer; give both",
        ),
        ("questions: [{ask: how much, answer: a lot}]", "a.md:2: questions: 'a lot' does not stand in the text; copy"),
        ("x: &a [1]\ny: [*a, *a]", "a.md:3: front matter: an alias; mend the YAML"),
        ("x: 1\nx: 2", "a.md:3: front matter: x a second time"),
        ("- a\n- b", "a.md:2: front matter: no key: value pairs"),
        ('id: "a\\tb"', "a.md:2: id: 'a\\tb' is no id; use up to 300 printable characters"),
        ('x: "\\uD800"', "a.md:2: x: a value has a NUL or half a surrogate pair"),
        ("x: " + "[" * 5000, "a.md:1: front matter is nested too deeply; flatten it"),
        ("x: " + "9" * 5000, "a.md:2: front matter: Exceeds the limit"),
        ("x: " + "y" * 70000, "a.md:1: front matter of more than 65536 characters"),
    ],
)
def test_a_broken_front_matter_names_the_file_and_the_line(put: Put, written: str, said: str) -> None:
    assert refusal(put({"a.md": f"---\r\n{written}\r\n---\r\nText."})).startswith(said)


def test_front_matter_may_stand_below_blank_lines_and_the_line_is_still_right(put: Put) -> None:
    assert refusal(put({"a.md": "\n\n---\n\n\nx: 1\ndate: soon\n---\nText."})).startswith("a.md:7: date")


def test_front_matter_that_never_closes_or_has_no_text_below_is_refused(put: Put) -> None:
    assert refusal(put({"a.md": "---\ntitle: x\n"})).startswith("a.md:1: front matter is opened with ---")
    assert refusal(put({"a.md": "---\ntitle: x\n---\n\n"})).startswith("a.md:1: no text")


def test_a_document_without_front_matter_is_titled_by_its_heading_or_its_name(put: Put) -> None:
    root = put({"concepts/reward-hacking.md": "Text.", "b.md": "Intro.\n\n## Not this\n\n# The *real* title\n\nText."})
    assert [(d.title, d.kind) for d in load(root)] == [("The real title", "document"), ("reward hacking", "concept")]


# --- Markdown


MARKDOWN = """\
# Title

Soft
wrapped.

## First `code` [link](http://x) E026

- item one
  goes on
* item *two*

  its second paragraph
1. number

> quoted
> twice

```
# not a heading
```

### Nested

| a | b |
|---|---|
| 1 | 2 |

Under nested. <!-- kept inline -->

***

<!-- gone
too -->

[E026]: https://example.org

Setext
------

    indented code

Last
# Second
end
"""


def test_markdown_gives_prose_under_its_headings_and_nothing_else(put: Put) -> None:
    first = "First code link E026"
    assert prose(one(put({"a.md": MARKDOWN}))) == [
        ("", "Soft wrapped."),
        (first, "item one goes on"),
        (first, "item *two*"),
        (first, "its second paragraph"),
        (first, "number"),
        (first, "quoted > twice"),
        (f"{first} › Nested", "Under nested. <!-- kept inline -->"),
        ("Setext", "Last"),
        ("Second", "end"),
    ]


def test_a_first_level_heading_that_is_not_the_title_is_a_heading(put: Put) -> None:
    assert prose(one(put({"a.md": "---\ntitle: T\n---\n# A\n\n### B\n\nx"}))) == [("A › B", "x")]


lines = st.sampled_from(
    [
        "",
        "# A",
        "## B",
        "- x",
        "  y",
        "> q",
        "```",
        "text  ",
        "\ttab",
        "1. n",
        "===",
        "---",
        "| a |",
        "|-|",
        "é\u3000",
        "\u3000",
        "- \x1f",
        "<!--",
    ]
)


@given(st.lists(lines, max_size=14).map("\n".join))
def test_every_paragraph_slices_back_and_they_are_in_order_and_disjoint(text: str) -> None:
    last = 0
    for paragraph in under_headings(scan(text), "A"):
        span = text[paragraph.start : paragraph.end]
        assert span
        assert span == span.strip()
        assert last <= paragraph.start < paragraph.end
        last = paragraph.end


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["a.md", "b.txt", "c.html", "d.jsonl", "e.xml", "r/f.txt"]),
        st.binary() | st.lists(lines).map(lambda x: "\n".join(x).encode()),
        min_size=1,
    )
)
def test_whatever_the_bytes_loading_is_deterministic_and_its_paragraphs_slice(
    put: Put, files: dict[str, bytes]
) -> None:
    root = put({**files})
    said: list[list[object]] = [[], []]
    for outcome in said:
        try:
            outcome += load(root, on_bad=lambda error, outcome=outcome: outcome.append(str(error)))  # type: ignore[misc]
        except UserError as error:
            outcome.append(str(error))
    assert said[0] == said[1]
    for document in said[0]:
        if isinstance(document, Document):
            spans = [(p.start, p.end) for p in document.paragraphs]
            assert spans == sorted(spans)
            assert all(document.text[a:b].strip() == document.text[a:b] != "" for a, b in spans)
            assert all(left[1] <= right[0] for left, right in pairwise(spans))


# --- the saved review page


@pytest.fixture
def page() -> str:
    if not SEED.exists():
        pytest.skip(f"no saved page at {SEED}")
    return SEED.read_text(encoding="utf-8")


def test_the_saved_page_gives_its_sections_and_none_of_its_furniture(page: str) -> None:
    document = one(SEED)
    assert document.text == page
    assert (document.kind, document.title) == ("review", page.split("\n")[2])
    headings = [p.heading for p in document.paragraphs]
    assert [headings.count(heading) for heading in dict.fromkeys(headings)] == [2, 2, 2, 1, 2]
    assert set(headings) == {line for line in page.split("\n")[6:-1] if line and len(line) <= 120}
    said = "".join(text for _, text in prose(document))
    assert not re.search(r"Literature review|all topics|Glossary|anchoring", said)
    assert not any(heading in said for heading in headings)
    assert sum(len(text) for _, text in prose(document)) == sum(len(x) for x in page.split("\n") if len(x) > 120)


FRAMES = {
    "bare": "{header}{nav}{title}{body}",
    "main": "<nav>menu</nav><main>{header}{title}{nav}{body}</main><footer>All rights reserved.</footer>",
    "header": "<header>{header}{title}</header><nav>{nav}</nav><article>{body}</article><footer>f</footer>",
    "divs": '<div class="wrap"><div>{header}{title}{nav}</div><div><section>{body}</section></div></div>',
}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("sections", [1, 2, 5])
def test_the_page_as_html_gives_the_same_headings_and_paragraphs(
    put: Put, page: str, frame: str, sections: int
) -> None:
    lines = page.rstrip().split("\n\n")
    cut = [at for at, x in enumerate(lines) if at > 2 and len(x) <= 120][sections]
    saved = "\n\n".join([*lines[:cut], "Episodes anchoring this topic", "E026 A title"])
    parts = {
        "header": f"<p>{lines[0]}</p>",
        "title": f"<h1>{lines[1]}</h1>",
        "nav": f'<p><a href="/">{lines[2]}</a></p>',
        "body": "".join(
            f"<h2>{html.escape(x)}</h2>" if len(x) <= 120 else f"<p>{html.escape(x)}</p>" for x in lines[3:cut]
        ),
    }
    parts["body"] = re.sub(r"\b(E\d{3})\b", r'<a href="/e/\1"><sup>\1</sup></a>', parts["body"])
    parts["body"] = re.sub(r"(?<!\w)\*([^*]+)\*", r"<em>\1</em>", parts["body"])
    parts["body"] += "<h2>Episodes anchoring this topic</h2><ul><li><a>E026 A title</a></li></ul>"
    written = (
        f"<!doctype html><html><head><title>Site</title></head><body>{FRAMES[frame].format(**parts)}</body></html>"
    )
    from_html = one(put({"a.html": written}))
    (put({}) / "a.html").unlink()
    from_text = one(put({"a.txt": saved}))
    assert prose(from_html) == prose(from_text)
    assert (from_html.kind, from_html.title) == (from_text.kind, from_text.title) == ("review", lines[1])


LONG = (
    "A claim that goes on for a while and says what it measured, with a number or two, and ends as a claim does E026. "
)


def test_a_page_of_the_same_family_may_differ(put: Put) -> None:
    saved = (
        "Monthly audio review · Jun 30 2026 · 108 min\r\n\r\n← all reviews\r\n\r\nWhat did June bring?\r\n\r\n"
        f"{LONG * 3}\r\n\r\nAgents\r\n\r\nDo they plan?\r\n\r\n{LONG * 2}E121E142\r\n\r\nA short claim E030\r\n\r\n"
        f"Memory\r\n{LONG}\r\n\r\nEpisodes anchoring this topic (2)\r\n\r\nE026\r\nOne that has a sentence.\r\n"
    )
    document = one(put({"reviews/june.txt": saved}))
    assert (document.kind, document.title) == ("review", "What did June bring?")
    assert [(heading, text[:20]) for heading, text in prose(document)] == [
        ("", LONG[:20]),
        ("Agents › Do they plan?", LONG[:20]),
        ("Agents › Do they plan?", "A short claim E030"),
        ("Memory", LONG[:20]),
    ]


def test_plain_text_without_the_header_line_is_a_plain_document(put: Put) -> None:
    root = put({"a.txt": "On reward\n\nText that\nis wrapped.\n\nA part\n\nMore.", "b.txt": "One sentence.\n\nTwo."})
    first, second = load(root)
    assert (first.kind, first.title, prose(first)) == (
        "document",
        "On reward",
        [("", "Text that is wrapped."), ("A part", "More.")],
    )
    assert (second.title, prose(second)) == ("b", [("", "One sentence."), ("", "Two.")])


def test_many_bare_lines_in_a_row_are_a_list_and_bare_last_lines_are_no_headings(put: Put) -> None:
    root = put({"a.txt": "Intro here.\n\nFour things\n\none\n\ntwo\n\nthree\n\nfour\n\nText.\n\nEnd"})
    assert prose(one(root)) == [
        ("", "Intro here."),
        *[("Four things", text) for text in ("one", "two", "three", "four", "Text.", "End")],
    ]


# --- HTML


def test_markers_stay_beside_their_sentence_whatever_tag_they_stand_in(put: Put) -> None:
    body = (
        '<p>One holds<a href="/e"><sup>E026</sup></a>. Two (<a>E030</a>, <a>E035</a>) and 10<sup>3</sup> '
        "<a>E121</a><a>E142</a>. See [<a>E001</a>]<span>E009</span>then.</p>"
    )
    document = one(put({"a.html": f"<html><body><main><h2>H</h2>{body}</main></body></html>"}))
    assert prose(document) == [
        ("H", "One holds E026. Two (E030, E035) and 103 E121E142. See [E001] E009 then."),
    ]


def test_the_fallback_keeps_the_headings_that_trafilatura_drops(put: Put) -> None:
    pytest.importorskip("trafilatura")
    body = "<h1>T</h1><p>A b.</p><h2>H</h2><p>C d.</p><h3>I</h3><ul><li>e f</li></ul><script>x()</script>"
    document = one(put({"a.html": f"<html><body>{body}</body></html>"}))
    assert (document.title, prose(document)) == ("T", [("", "A b."), ("H", "C d."), ("H › I", "e f")])


@pytest.mark.parametrize(("charset", "data"), [("windows-1252", "cp1252"), ("utf-8", "utf-8"), ("koi8-r", "koi8-r")])
def test_the_charset_is_that_of_the_bytes(put: Put, charset: str, data: str) -> None:
    said = "Это работает." if data == "koi8-r" else "Naïve “café”."
    written = f'<html><head><meta charset="{charset}"></head><body><main><p>{said}</p></main></body></html>'
    assert prose(one(put({"a.html": written.encode(data)}))) == [("", said)]


def test_control_characters_are_no_obstacle(put: Put) -> None:
    body = "\x1b<nav>n</nav>&#3;<script>x</script>\x0c<p>One\x1a<a>E026</a>, two&#2;<a>E027</a>&#x1f;x.</p>"
    assert prose(one(put({"a.html": f"<html><body><main>{body}</main></body></html>"}))) == [
        ("", "One E026, two E027 x.")
    ]


def test_a_page_without_text_is_refused_and_its_canonical_address_is_kept(put: Put) -> None:
    assert refusal(put({"a.html": "<html><body><script>x()</script></body></html>"})).startswith("a.html:1: a page w")
    head = '<head><link rel="canonical" href="https://example.org/r"></head>'
    assert one(put({"a.html": f"<html>{head}<body><p>Text.</p></body></html>"})).url == "https://example.org/r"


# --- JSON Lines


def test_a_row_is_a_document_with_its_fields_and_the_rest_as_metadata(put: Put) -> None:
    row = {"id": "E026", "kind": "episode", "title": "T", "topics": ["RL"], "date": "2026-05-01", "text": "a\r\n\r\nb"}
    document = one(put({"x/rows.jsonl": json.dumps({**row, "url": "https://x.org", "authors": ["A"]})}))
    assert (document.id, document.episode, document.kind, document.date) == ("E026", "E026", "episode", "2026-05-01")
    assert (document.title, document.topics, document.metadata) == ("T", ("RL",), {"authors": ["A"]})
    assert prose(document) == [("", "a"), ("", "b")]


def test_beir_rows_and_rows_without_an_id_are_read(put: Put) -> None:
    beir = {"_id": "4983", "title": "", "text": "    indented, 1. or | not.", "metadata": {"year": 2020}}
    first, second = load(put({"x/corpus.jsonl": json.dumps(beir) + "\n\n" + '{"text": "y"}'}))
    assert (first.id, first.title, first.metadata) == ("4983", "", {"year": 2020})
    assert prose(first) == [("", "indented, 1. or | not.")]
    assert (second.id, second.title, second.kind) == ("x/corpus#3", "corpus", "document")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "no JSON: Expecting property name"),
        ("[1]", "not an object"),
        ('{"id": "a"}', "no text"),
        ('{"text": 1}', "no text"),
        ('{"text": " "}', "no text"),
        ('{"text": "a", "id": true}', "id: True is no text"),
        ('{"text": "a", "date": "1 May"}', "date: '1 May' is no date"),
        ('{"text": "a", "x": NaN}', "NaN is no JSON"),
        ('{"text": "a\\ud800"}', "the text has a NUL or half a surrogate pair"),
        ('{"text": "a", "x": ' + "[" * 20 + "]" * 20 + "}", "x: nested too deeply"),
        ('{"text": ' + "[" * 200000, "nested too deeply"),
    ],
)
def test_a_bad_row_is_named_by_its_line(put: Put, row: str, said: str) -> None:
    assert refusal(put({"a.jsonl": f'{{"text": "fine"}}\n\u2028\n{row}\n'})).startswith(f"a.jsonl:3: {said}")


# --- feeds


RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"><channel><title>Show</title>
<item><title>On RL &amp; more</title><itunes:episode>26</itunes:episode><guid>g-1</guid>
<pubDate>Fri, 01 May 2026 08:00:00 GMT</pubDate><link>https://example.org/026</link><category>RL</category>
<description><![CDATA[<p>First <b>claim</b>.</p><ul><li>point</li></ul><script>x</script>]]></description></item>
<item><title>E027: Two</title><guid>g-2</guid><description>Plain.

Twice.</description></item>
<item><title>Bonus</title><guid>https://example.org/bonus/live.html</guid><description>Talk.</description></item>
</channel></rss>
"""

ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Show</title>
<entry><title>Episode 9 &#8212; Nine</title><id>urn:uuid:1b9d6bcd-bbfd-E026-9b5d-ab8dfbbd4bed</id>
<updated>2026-05-01T08:00:00Z</updated><summary>Some.</summary></entry>
<entry><title>Ten</title><id>tag:example.org,2026:E010</id>
<content type="html">&lt;p&gt;Long text.&lt;/p&gt;</content></entry>
</feed>
"""


def test_a_feeds_entries_are_episodes(put: Put) -> None:
    first, second, third = load(put({"feeds/show.xml": RSS}))
    assert (first.id, first.episode, first.kind, first.title) == ("feeds/show/E026", "E026", "episode", "On RL & more")
    assert (first.date, first.url, first.topics) == ("2026-05-01", "https://example.org/026", ("RL",))
    assert prose(first) == [("", "First **claim**."), ("", "point")]
    assert (second.id, second.episode, prose(second)) == ("feeds/show/E027", "E027", [("", "Plain."), ("", "Twice.")])
    assert (third.id, third.episode) == ("feeds/show/bonus-live", None)


def test_an_atom_feed_is_read_and_a_uuid_is_no_episode(put: Put) -> None:
    root = put({"show.atom": ATOM})
    assert [(d.id, d.date, d.text) for d in load(root)] == [
        ("show/E009", "2026-05-01", "Some."),
        ("show/E010", None, "Long text."),
    ]


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        (RSS.replace("</channel>", ""), "a.rss:10: not well-formed XML: mismatched tag"),
        (RSS.replace("<description>Talk.", "<description>"), "a.rss:9: an entry without text"),
        (RSS.replace("Fri, 01 May 2026 08:00:00 GMT", "soon"), "a.rss:3: date: 'soon' is no date"),
        ("<urlset><url>x</url></urlset>", "a.rss:1: no entries of an RSS or Atom feed"),
        ("/etc/passwd", "a.rss:1: n"),
        ("http://127.0.0.1:9/feed", "a.rss:1: n"),
        ('<?xml version="1.0"?>\n<!DOCTYPE r [<!ENTITY a "aa">]>\n' + RSS[39:], "a.rss:2: the feed declares entities"),
    ],
)
def test_a_bad_feed_or_entry_is_named_by_its_line(put: Put, feed: str, said: str) -> None:
    assert refusal(put({"a.rss": feed})).startswith(said)


# --- no name twice


def test_two_documents_of_one_name_or_one_episode_are_refused_naming_both(put: Put) -> None:
    root = put({"a.md": "x", "a.txt": "y."})
    assert refusal(root) == f"a.txt:1: the id a is taken by {root.as_posix()}/a.md:1; rename one, or remove it"
    (root / "a.txt").unlink()
    put({"E001.md": "---\nid: E026\n---\nx", "episodes/E026.md": "x", "A.md": "only case differs"})
    assert f"episodes/E026.md:1: the episode E026 is taken by {root.as_posix()}/E001.md" in refusal(root)


def test_a_refused_duplicate_takes_no_name(put: Put) -> None:
    root = put(
        {"a.jsonl": '{"id": "x", "text": "1"}\n{"id": "x", "episode": "E1", "text": "2"}\n{"id": "E1", "text": "3"}'}
    )
    bad: list[CorpusError] = []
    assert [d.text for d in load(root, id_pattern=r"E\d", on_bad=bad.append)] == ["1", "3"]
    assert [error.line for error in bad] == [2]


def test_a_sentence_knows_the_questions_that_it_is_said_to_answer(put: Put) -> None:
    front = "questions:\n- {ask: 'what bill?', answer: It cost}\n- {ask: 'and who?', answer: Roe\n    and Doe}\n"
    (document,) = load(put({"a.md": f"---\n{front}---\nBy Roe\nand Doe. It cost $25. It works.\n"}))
    (passage,) = split(document, SplitValues())
    assert [sentence.asked for sentence in passage.sentences] == [("and who?",), ("what bill?",), ()]
    assert "bill" not in index_text(passage)
    (without,) = split(document, SplitValues(questions=False))
    assert [sentence.asked for sentence in without.sentences] == [(), (), ()]
    assert "what bill?" in term_text(passage)


def test_a_list_of_other_questions_is_somebodys_own(put: Put) -> None:
    (document,) = load(put({"a.md": "---\nquestions: [why, {who: me}]\n---\nText.\n"}))
    assert document.questions == ()
    assert document.metadata["questions"] == ["why", {"who": "me"}]


@pytest.mark.parametrize(
    ("questions", "said"),
    [
        (
            "[{ask: q, answer: It cost}, {aks: q, answer: And Doe}]",
            "{'aks': 'q', 'answer': 'And Doe'} lacks ask or answ",
        ),
        ("[{ask: q, answr: It cost}]", "{'ask': 'q', 'answr': 'It cost'} lacks ask or answer; give both"),
        ("[{ask: q, answer: ' '}]", "{'ask': 'q', 'answer': ' '} lacks ask or answer"),
        ("[why, {ask: q, answer: It cost}]", "'why' lacks ask or answer"),
        ("{ask: q, answer: It cost}", "{'ask': 'q', 'answer': 'It cost'} is no list"),
        ("[{ask: [q], answer: It cost}]", "ask ['q'] is no text; write it in quotes"),
        ("[{ask: q, answer: It costs}]", "'It costs' does not stand in the text"),
        ("[{ask: q, answer: co}]", "'co' does not stand in the text"),
        ("[{ask: q, answer: 'by 4'}]", "'by 4' does not stand in the text"),
        ("[{ask: q, answer: '5%'}]", "'5%' does not stand in the text"),
        ("[{ask: q, answer: Roe}]", "'Roe' stands 2 times in the text; copy more of it"),
        ("[{ask: q, answer: The bill}]", "'The bill' stands in no sentence"),
        ("[{ask: q, answer: a; b}]", "'a; b' does not stand in the text; copy whole words"),
        ("[{ask: q, answer: run(it)}]", "'run(it)' stands in no sentence"),
        ("[{ask: q, answer: It rose by 4.5%. Roe left}]", "'It rose by 4.5%. Roe left' stands in no sentence"),
    ],
)
def test_a_question_whose_answer_is_no_one_place_in_a_sentence_is_refused(put: Put, questions: str, said: str) -> None:
    text = "# The bill\n\nRoe came. It cost $25. It rose by 4.5%.\n\nRoe left.\n\n```\nrun(it)\n```\n"
    root = put({"a.md": f"---\nquestions: {questions}\n---\n{text}"})
    assert refusal(root).startswith(f"a.md:2: questions: {said}")


def test_an_answer_over_several_sentences_is_that_of_each(put: Put) -> None:
    front = "questions: [{ask: 'why?', answer: first. Two is}]"
    (document,) = load(put({"a.md": f"---\n{front}\n---\nOne is first. Two is second. Three is third.\n"}))
    (passage,) = split(document, SplitValues())
    assert [sentence.asked for sentence in passage.sentences] == [("why?",), ("why?",), ()]
