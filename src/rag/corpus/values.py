"""One value of front matter or a row -> its one form; ValueError, as "FOUND; MEND", where it has none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from math import isfinite
from urllib.parse import urlsplit

from rag.records import AskedQuestion, Paragraph

MAX_DEPTH = 8


def canonical(number: str | int, id_pattern: str) -> str | None:
    r"""The ID of episode `number`: the pattern's literal beginning and the fewest digits that match it.

    >>> canonical(26, r"E\d{3,}"), canonical("026", r"E\d{3,}"), canonical(26, r"ep-\d+"), canonical(26, "[AB]x")
    ('E026', 'E026', 'ep-26', None)
    """
    start = re.match(r"(?:[^\\\[\](){}?*+.|^$]|\\[^\w\s])*(?![?*+{])", id_pattern)
    prefix = re.sub(r"\\(.)", r"\1", start.group() if start else "")
    names = (f"{prefix}{int(number):0{width}d}" for width in range(1, 9))
    return next((name for name in names if re.fullmatch(id_pattern, name)), None)


def json_safe(value: object, depth: int = 0) -> object:
    """Dates as ISO strings, lists and maps of such; ValueError for what JSON cannot hold."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply; flatten it")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return sound(value, "a value")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number of more than 64 bits; write it in quotes")
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return [json_safe(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {str(name): json_safe(item, depth + 1) for name, item in value.items()}
    raise ValueError(f"{value!r:.40} is not a string, number, boolean, date, list or map; write it as a string")


def sound(text: str, what: str) -> str:
    """The text, if it can be written as UTF-8 and is no binary."""
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f"{what} has a NUL or half a surrogate pair; remove it")
    return text


def word(fields: Mapping[str, object], key: str) -> str | None:
    """Words on one line, None where there are none."""
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r:.60} is no text; write it in quotes")
    return " ".join(sound(str(value), "it").split()) or None


def document_id(name: str) -> str:
    """A document's ID: what a terminal, an address and a log can show."""
    sound(name, "it")
    if len(name) > 300 or not name.isprintable() or name != name.strip():
        raise ValueError(f"{name!r:.60} is no id; use up to 300 printable characters")
    return name


def episode_id(value: str | None, id_pattern: str) -> str | None:
    """An episode's ID, or its number made one."""
    if value is None or re.fullmatch(id_pattern, value):
        return value
    if value.isdecimal() and len(value) < 9 and (name := canonical(value, id_pattern)):
        return name
    raise ValueError(f"{value!r:.60} does not match the ID pattern {id_pattern}; write an episode's ID")


def topic_names(value: object) -> tuple[str, ...]:
    """Topics of a list or a comma-separated string, each once.

    >>> topic_names("RL, agents, RL"), topic_names(["a", 3])
    (('RL', 'agents'), ('a', '3'))
    """
    items = value.split(",") if isinstance(value, str) else [] if value is None else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"{value!r:.60} is no list; write [one, two]")
    names = [word({"": item}, "") for item in items]
    return tuple(dict.fromkeys(name for name in names if name))


def asked_questions(value: object, text: str, paragraphs: Sequence[Paragraph]) -> tuple[AskedQuestion, ...]:
    """Questions of a list of `{ask: …, answer: …}`; each answer stands once in the text, in one of its paragraphs.

    A list without an `ask` or `answer` is somebody's own field, and none of ours.

    >>> asked_questions([{"ask": "what bill?", "answer": "for $25"}], "It ran for $25.", [Paragraph(0, 15)])
    (AskedQuestion(text='what bill?', at=7, end=14),)
    """
    items = value if isinstance(value, list | tuple) else [value]
    if not any(isinstance(item, Mapping) and ("ask" in item or "answer" in item) for item in items):
        return ()
    if items is not value:
        raise ValueError(f"{value!r:.80} is no list; write [{{ask: …, answer: …}}]")
    found = []
    for item in items:
        ask, answer = (_own_words(item, key) for key in ("ask", "answer"))
        places = [match.span() for match in _whole(answer).finditer(text)]
        if not places:
            raise ValueError(f"{answer!r:.80} does not stand in the text; copy whole words of the answering sentence")
        if len(places) > 1:
            raise ValueError(f"{answer!r:.80} stands {len(places)} times in the text; copy more of it")
        ((at, end),) = places
        if not any(p.start <= at and end <= p.end for p in paragraphs):
            raise ValueError(f"{answer!r:.80} stands in no sentence; copy a part of one, of no heading or code")
        found.append(AskedQuestion(ask, at, end))
    return tuple(found)


def _own_words(item: object, key: str) -> str:
    value = item.get(key) if isinstance(item, Mapping) else None
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} {value!r:.60} is no text; write it in quotes")
    words = " ".join(sound(value or "", key).split())
    if not words:
        raise ValueError(f"{item!r:.80} lacks ask or answer; give both")
    return words


def _whole(words: str) -> re.Pattern[str]:
    r"""Finds the words with any white space between them, not within a longer word or number.

    >>> [bool(_whole("4 o").search(text)) for text in ("a 4 o.", "_4\no_", "14 o", "0.4 o", "4 of", "4 o_k")]
    [True, True, False, False, False, False]
    """
    pattern = r"\s+".join(map(re.escape, words.split()))
    if words[0].isalnum():
        pattern = r"(?<![^\W_])(?<![^\W_]_)" + (r"(?<!\d[.,])" if words[0].isdigit() else "") + pattern
    if words[-1].isalnum():
        pattern += r"(?![^\W_])(?!_[^\W_])" + (r"(?![.,]\d)" if words[-1].isdigit() else "")
    return re.compile(pattern)


def iso_date(value: object) -> str | None:
    """A date as YYYY-MM-DD; of a moment, the day as written.

    >>> iso_date("2026-5-1"), iso_date("2026-05-01T23:00:00-07:00"), iso_date("")
    ('2026-05-01', '2026-05-01', None)
    """
    text = value.isoformat() if isinstance(value, date) else str(value).strip()
    if value is None or not text:
        return None
    if short := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text):
        text = "{}-{:0>2}-{:0>2}".format(*short.groups())
    try:  # a number is no date: YAML reads 2026 as one, and ISO 8601 would take 20260501
        if isinstance(value, str | date):
            return datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        pass
    raise ValueError(f"{value!r:.60} is no date; write it as 2026-05-31")


def web_address(value: str | None) -> str | None:
    """An http(s) or relative address: others could run as scripts where an answer shows them as links."""
    if value is not None and (urlsplit(value).scheme not in {"", "http", "https"} or " " in value):
        raise ValueError(f"{value!r:.60} is no web address; begin it with https://")
    return value
