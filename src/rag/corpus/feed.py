"""RSS and Atom feeds of episodes: one document an entry."""

from __future__ import annotations

import html
import io
import re
from codecs import BOM_UTF8, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rag.corpus.fields import Draft
from rag.corpus.markdown import scan, under_headings
from rag.corpus.page import blocks
from rag.corpus.source import Source, newlines
from rag.corpus.tree import parse, rendered
from rag.corpus.values import canonical
from rag.errors import CorpusError
from rag.records import Paragraph

if TYPE_CHECKING:
    Entry = Any  # feedparser comes without types

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def read(source: Source, id_pattern: str) -> Iterator[Draft | CorpusError]:
    """A draft an entry, or the error of one without text.

    The file must be well-formed XML and may declare no entities. Nothing is fetched: feedparser is handed a stream,
    since it would open a string as an address or a path.
    """
    parsed = _parse(source)
    show = parsed.feed.get("title")
    starts = [match.start() for match in re.finditer(rb"<(?:\w+:)?(?:item|entry)[\s>]", source.data)]
    for at, entry in enumerate(parsed.entries):
        known = len(starts) == len(parsed.entries)  # not so where a comment or an encoding hides some
        line = source.data.count(b"\n", 0, starts[at]) + 1 if known else 1
        text, paragraphs = _text(entry, id_pattern)
        if not text:
            yield CorpusError(source.path, line, "an entry without text", "give it a description or a summary")
            continue
        link = str(entry.get("link") or "")
        title = _plain(str(entry.get("title") or ""), id_pattern)
        guid = str(entry.get("id") or "")
        number = episode_of(str(entry.get("itunes_episode") or ""), title, guid, id_pattern)
        yield Draft(
            text=text,
            paragraphs=paragraphs,
            fields={
                "title": title or None,
                "date": _day(entry),
                "url": link if link.startswith(("http://", "https://")) else None,
                "topics": [tag.term for tag in entry.get("tags", ()) if tag.get("term")],
            },
            metadata={"guid": guid or None, "show": show, "duration": entry.get("itunes_duration")},
            line=line,
            id=f"{source.id}/{number or _slug(guid) or _slug(link) or f'#{at + 1}'}",
            episode=number,
            kind="episode",
        )


def episode_of(number: str, title: str, guid: str, id_pattern: str) -> str | None:
    r"""The episode's ID by its number, else by how its title begins or ends, else by its guid.

    >>> [episode_of("", title, "", r"E\d{3,}") for title in ("E026: RL", "#26 RL", "Episode 26 - RL", "RL in 2026")]
    ['E026', 'E026', 'E026', None]
    """
    if number.strip().isdecimal() and len(number) < 9:
        return canonical(number, id_pattern)
    one = rf"({id_pattern})"
    if named := re.match(rf"\W*{one}(?!\w)", title) or re.search(rf"(?<!\w){one}\W*$", title):
        return named.group(1)
    if counted := re.match(r"\W*?(?:#|(?:episode|ep\.?|e)\s*#?)\s*(\d{1,8})(?![\w%]|[.,]\d)", title, re.IGNORECASE):
        return canonical(counted.group(1), id_pattern)
    in_guid = set(re.findall(rf"(?<![^\W_])({id_pattern})(?![^\W_])", _UUID.sub("", guid)))
    return in_guid.pop() if len(in_guid) == 1 else None


def _parse(source: Source) -> Any:
    import feedparser

    if (line := _entities(source.data)) is not None:
        raise CorpusError(source.path, line, "the feed declares entities", "write them out")
    if not source.data.strip():
        raise CorpusError(source.path, 1, "the file is empty", "save the feed again, or remove it")
    if not source.data.replace(b"\0", b"").lstrip(BOM_UTF8 + BOM_UTF16_LE + b" \t\r\n").startswith(b"<"):
        raise CorpusError(source.path, 1, "no XML as UTF-8 or UTF-16 write it", "save the feed as UTF-8, or remove it")
    try:
        parsed = feedparser.parse(io.BytesIO(source.data))
    except Exception as error:  # it promises none
        raise CorpusError(source.path, 1, f"no feed: {error}", "save the feed again") from error
    wrong = parsed.get("bozo_exception")
    if wrong is not None and not isinstance(wrong, feedparser.CharacterEncodingOverride):
        line = wrong.getLineNumber() if hasattr(wrong, "getLineNumber") else 1
        line -= 0 if source.data.lstrip().startswith(b"<?xml") else 1  # feedparser puts a declaration in front
        found = wrong.getMessage() if hasattr(wrong, "getMessage") else wrong
        raise CorpusError(source.path, max(line, 1), f"not well-formed XML: {found}", "mend it, or save the feed again")
    if not parsed.entries:
        raise CorpusError(source.path, 1, "no entries of an RSS or Atom feed", "save the feed again, or remove it")
    return parsed


def _entities(data: bytes) -> int | None:
    r"""The line of the first declaration of an entity, as the bytes have it or as the encoding that they name does.

    >>> _entities(b"<a>\n<!entity b 'c'>"), _entities(b"<?xml encoding='utf-7'?>+ADwAIQ-ENTITY"), _entities(b"<a/>")
    (2, 1, None)
    """
    plain = data.replace(b"\0", b"")
    named = re.search(rb"""encoding\s*=\s*["']([\w.:-]+)""", plain[:1000])
    texts = [plain.decode("latin-1")]
    with suppress(LookupError, ValueError):  # one that nobody knows is refused further on
        texts.append(plain.decode(named.group(1).decode() if named else "utf-8", "replace"))
    for text in texts:
        if (at := text.upper().find("<!ENTITY")) >= 0:
            return text.count("\n", 0, at) + 1
    return None


def _text(entry: Entry, id_pattern: str) -> tuple[str, tuple[Paragraph, ...]]:
    """The longest of the entry's texts, and its paragraphs."""
    values = [str(part.get("value") or "") for part in entry.get("content", ())] + [str(entry.get("summary") or "")]
    longest = newlines(max(values, key=len)).strip()
    if re.search(r"</?[a-zA-Z][^>]*>", longest):
        text = "\n\n".join(rendered(parse(longest, id_pattern)))
        return text, under_headings(scan(text), "")
    text = html.unescape(longest)
    return text, tuple(Paragraph(start, end) for start, end in blocks(text))


def _plain(value: str, id_pattern: str) -> str:
    tagged = re.search(r"</?[a-zA-Z][^>]*>", value)
    return " ".join(rendered(parse(value, id_pattern))) if tagged else html.unescape(value).strip()


def _day(entry: Entry) -> str | None:
    """In UTC. A date that cannot be read is handed on as written, to be refused with its line."""
    for key in ("published", "updated", "created"):
        if key in entry:  # asked for what it lacks, feedparser lends another key's value, and warns
            with suppress(ValueError, TypeError):  # the year 0, or None
                return date(*entry[f"{key}_parsed"][:3]).isoformat()
            return str(entry[key])
    return None


def _slug(address: str) -> str:
    """A name for an entry, of its address.

    >>> _slug("https://example.org/episodes/026-rl.html"), _slug("3F2504E0-4F89"), _slug("https://a.org/?p=7")
    ('episodes-026-rl', '3F2504E0-4F89', 'p-7')
    """
    with suppress(ValueError):  # "http://[" is no address
        if (parts := urlsplit(address)).netloc:
            address = f"{re.sub(r'[.]html?$', '', parts.path)} {parts.query}"
    return re.sub(r"[^\w.]+", "-", address).strip("-.")
