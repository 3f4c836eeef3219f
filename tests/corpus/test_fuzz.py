"""Every reader on bytes that nobody wrote: documents whose paragraphs lie in their text, or an error of ours.

`HYPOTHESIS_EXAMPLES=5000 pytest tests/corpus/test_fuzz.py` tries more.
"""

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.corpus.load import READERS, _drafts
from rag.corpus.markers import DEFAULT_PATTERN
from rag.corpus.source import Source
from rag.errors import CorpusError

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "25"))
MARKDOWN = "---\ntitle: T\ntopics: [a, b]\ndate: 2026-05-01\n---\n# H\n\nProse *is* here E026.\n\n- item\n\n> quote\n"
HTML = "<html><head><title>T</title></head><body><h1>H</h1><p>Prose <b>is</b> here E026.</p><ul><li>x</ul></html>"
SEEDS = {
    ".md": MARKDOWN,
    ".txt": "Literature review · 6 episode(s)\n\nT\n\nHeading\n\nProse is here E026. And more [E030, E035].\n",
    ".html": HTML,
    ".jsonl": '{"_id": "a", "title": "T", "text": "Prose is here E026."}\n{"_id": "b", "text": "x"}\n',
    ".xml": '<?xml version="1.0"?><rss version="2.0"><channel><title>S</title><item><title>E026</title><guid>g</guid>'
    "<pubDate>Fri, 01 May 2026 00:00:00 GMT</pubDate><description>Prose &lt;p&gt;is&lt;/p&gt;</description></item>"
    "</channel></rss>",
}


@st.composite
def mutated(draw: st.DrawFn, seed: bytes) -> bytes:
    """The seed with some of its slices dropped, doubled, or made anything else."""
    data = seed
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 20)))
        instead = draw(st.binary(max_size=8) | st.text(max_size=8).map(lambda t: t.encode("utf-8", "surrogatepass")))
        data = data[:start] + draw(st.sampled_from([b"", data[start:end] * 2, instead])) + data[end:]
    return data


@pytest.mark.parametrize("suffix", SEEDS)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_any_bytes_are_documents_whose_paragraphs_lie_in_them_or_an_error_of_ours(suffix: str, data: Any) -> None:
    assert suffix in READERS
    found = data.draw(st.binary(max_size=200) | mutated(SEEDS[suffix].encode()))
    name = f"a{suffix}"
    drafts: Iterable[Any] = _drafts(Source(name, name, "corpus", found), DEFAULT_PATTERN)
    for draft in drafts:
        if isinstance(draft, CorpusError):
            assert str(draft).startswith(f"{name}:")
            continue
        last = 0
        for paragraph in draft.paragraphs:
            assert last <= paragraph.start < paragraph.end <= len(draft.text)
            last = paragraph.end
