"""Answers as the Markdown that chat clients show."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from rag.records import Answer, Citation, Hit
from rag.wire import cited

NEAREST = 3
"""Passages that an abstention names."""

_PUNCTUATION = r"[!-/:-@\[-`{-~]"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# As entities, because many clients take a backslash before a bracket for the start of a formula.
_AS_ENTITY = re.compile(
    r"(?<=\])[(:]"  # a link, an image, a definition
    r"|<(?=[A-Za-z/!?])|&(?=#?\w+;)"  # HTML
    rf"|\\(?={_PUNCTUATION}|$)",
)
_BEHIND_A_BACKSLASH = re.compile(
    r"[`*]"  # code, emphasis
    r"|(?<=\S)~"  # struck through: without an end there is no beginning
    r"|(?<![^\W_])_|_(?![^\W_])"
)
# A bare address is text that many clients make a link of, escaped or not, unless it is broken.
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=[\w.+-])(?=@\w)", re.I)
_JOINER = "\u2060"  # has no width, and lets no line break in
_FIRST = re.compile(r"(?=[#>+=-])|(\d{1,9})(?=[.)](?:\s|$))")  # headings, quotes, lists, rules
_ESCAPE = re.compile(rf"\\({_PUNCTUATION})|&#(\d{{2,3}});")

_READ_AS, _ABSTAINED, _NOTE = "*Read as: ", "The corpus does not say: ", "*Note: "
_SOURCES, _NEAREST = "Sources:", "Nearest passages:"
_FRAME = re.compile(rf"^{re.escape(_READ_AS)}.*\n+|\n\n(?:{_SOURCES}\n|{_NEAREST}\n|{re.escape(_NOTE)})(?s:.*)")


def shown(text: str) -> str:
    r"""Text in one line of Markdown that reads as it is written: no markup, HTML, link or image comes of it.

    >>> print(shown("It cost ~$25 [E026], see ![x](y) & <b>*this*</b>"))
    It cost ~$25 [E026], see ![x]&#40;y) & &#60;b>\*this\*&#60;/b>
    """
    text = " ".join(_CONTROL.sub(" ", text).split()).encode("utf-8", "replace").decode()
    text = _AS_ENTITY.sub(lambda found: f"&#{ord(found[0])};", text)
    text = _BEHIND_A_BACKSLASH.sub(r"\\\g<0>", text)
    text = _ADDRESS.sub(_JOINER, text)
    first = _FIRST.match(text)
    return f"{first[0]}\\{text[first.end() :]}" if first else text


def said(text: str) -> str:
    """What an assistant's message says: one of ours without what is around its sentences, nothing if it abstained."""
    text = _FRAME.sub("", text.strip())
    if text.startswith(_ABSTAINED):
        return ""
    return _ESCAPE.sub(lambda found: found[1] or chr(int(found[2])), text.replace(_JOINER, "")).strip()


def _address(url: str | None) -> str | None:
    """A page's address, so that nothing in it is Markdown; None for what is no page's."""
    if url is None or not re.match("https?://", url, re.I):
        return None
    return quote(url, safe="/:?=&#%+,@", errors="replace")


def _source(citation: Citation) -> str:
    named = [shown(citation.episode)] + ([shown(citation.title)] if citation.title != citation.episode else [])
    return "- " + " — ".join(filter(None, [*named, _address(citation.url)]))


def _passage(hit: Hit) -> str:
    about = [shown(hit.passage.title or hit.passage.document), ", ".join(map(shown, hit.passage.episodes))]
    return "- " + " — ".join(filter(None, about))


def _listed(heading: str, lines: Iterable[str]) -> str:
    rows = "".join(f"\n{line}" for line in dict.fromkeys(lines))
    return f"\n\n{heading}{rows}" if rows else ""


def _note(answer: Answer) -> str:
    draft = answer.draft
    notes = [f"not answered: “{shown(one.question)}” ({shown(one.reason)})" for one in answer.unanswered]
    if draft and draft.failed:
        begun = draft.passed + draft.dropped
        notes.append("the model's draft broke off" if begun else "the model gave no draft")
    if draft and draft.dropped:
        what = "a sentence" if draft.dropped == 1 else f"{draft.dropped} sentences"
        notes.append(f"{what} of the model's draft left out")
    return f"\n\n{_NOTE}{'; '.join(notes)}.*" if notes else ""


def begin(standalone: str | None) -> str:
    """What comes before an answer: how the question was read, where a conversation was needed for it."""
    return f"{_READ_AS}{shown(standalone)}*\n\n" if standalone else ""


def end(answer: Answer) -> str:
    """What comes behind an answer's sentences, or in their place."""
    if not answer.abstained:
        return _listed(_SOURCES, map(_source, answer.citations)) + _note(answer)
    told = f"{_ABSTAINED}{shown(answer.reason or '').rstrip('.')}."
    return told + _listed(_NEAREST, map(_passage, answer.hits[:NEAREST])) + _note(answer)


def content(answer: Answer) -> str:
    """The whole answer; a stream's pieces add up to it."""
    return begin(answer.standalone) + " ".join(shown(cited(s)) for s in answer.sentences) + end(answer)


def url_citations(answer: Answer, text: str) -> list[dict[str, Any]]:
    """Where in an answer's text the sources stand that have an address."""
    found = []
    for citation in answer.citations:
        if url := _address(citation.url):
            line = _source(citation)
            at = text.rindex(line)
            place = {"start_index": at, "end_index": at + len(line), "title": citation.title, "url": url}
            found.append({"type": "url_citation", "url_citation": place})
    return found
