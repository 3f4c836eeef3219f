"""Document -> passages."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import groupby

from rag.corpus.markers import DEFAULT_PATTERN, plain, sentences
from rag.records import Document, Passage, Sentence


@dataclass(frozen=True, slots=True)
class SplitValues:
    """How long passages are, in characters.

    A passage takes whole sentences up to `max_chars` (a longer sentence is a passage of its own), never crosses a
    heading, and goes on into the next paragraph only while it is shorter than `min_chars`. `titled` passages are
    embedded and searched with their title and heading in front; with `questions`, sentences carry those that the
    document says they answer.
    """

    max_chars: int = 600
    min_chars: int = 200
    titled: bool = True
    questions: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_chars <= self.max_chars:
            raise ValueError(f"0 <= min_chars <= max_chars, not {self.min_chars} and {self.max_chars}")


def split(document: Document, values: SplitValues, id_pattern: str = DEFAULT_PATTERN) -> list[Passage]:
    """Passages in reading order; every sentence stands in exactly one, and ids sort as they read."""
    starts = [paragraph.start for paragraph in document.paragraphs]

    def paragraph(sentence: Sentence) -> int:
        return bisect_right(starts, sentence.start) - 1

    def heading(sentence: Sentence) -> str:
        return document.paragraphs[paragraph(sentence)].heading

    def asked(sentence: Sentence) -> Sentence:
        questions = document.questions if values.questions else ()
        own = tuple(q.text for q in questions if q.at < sentence.end and sentence.start < q.end)
        return replace(sentence, asked=own) if own else sentence

    out: list[Passage] = []
    for title, section in groupby(map(asked, sentences(document, id_pattern)), key=heading):
        held: list[Sentence] = []
        for sentence in section:
            if held:
                full = sentence.end - held[0].start > values.max_chars
                turned = paragraph(sentence) != paragraph(held[-1])
                if full or (turned and held[-1].end - held[0].start >= values.min_chars):
                    out.append(_passage(document, title, held))
                    held = []
            held.append(sentence)
        out.append(_passage(document, title, held))
    return out


def _passage(document: Document, heading: str, held: list[Sentence]) -> Passage:
    start, end = held[0].start, held[-1].end
    return Passage(
        id=f"{document.id}:{start:07d}",
        document=document.id,
        text=document.text[start:end],
        start=start,
        end=end,
        episodes=tuple(dict.fromkeys(e for s in held for e in s.episodes)),
        kind=document.kind,
        title=document.title,
        heading=heading,
        topics=document.topics,
        date=document.date,
        sentences=tuple(held),
    )


def index_text(passage: Passage, id_pattern: str = DEFAULT_PATTERN, titled: bool = True) -> str:
    """What is embedded and searched: the passage's plain text, if `titled` with its title and heading in front."""
    front = (passage.title, passage.heading) if titled else ()
    return "\n".join(part for part in (*front, plain(passage.text, id_pattern)) if part)


def term_text(passage: Passage, id_pattern: str = DEFAULT_PATTERN, titled: bool = True) -> str:
    """What BM25 reads: what is embedded, and the questions that the passage's sentences are said to answer.

    A vector of a passage would blur with them; they have vectors of their own.
    """
    return "\n".join((index_text(passage, id_pattern, titled), *(ask for s in passage.sentences for ask in s.asked)))
