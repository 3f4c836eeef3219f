"""Drafted sentences -> those that the evidence supports, under its citations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rag.answer.extract import Candidate, evidence, leans, shown, with_support
from rag.answer.verify import sentences, verify
from rag.corpus.markers import DEFAULT_PATTERN, find_markers, plain
from rag.records import AnswerSentence, Dropped, Objection

_LEAD_IN = re.compile(
    r"(?:(?:according to|as (?:reported|shown|described|stated) (?:in|by)|in|per|from)\s+)?(?:the\s+)?(?:episode\s+)?$",
    re.I,
)
_SAYS = re.compile(
    r"\s*(?:(?:says?|shows?|reports?|notes?|states?|finds?|found|reported|showed) that\s+|[,:]\s*)", re.I
)
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"(?<=\s)\w*[^\W\d_a-z]\w*")
_PLAIN = frozenset(" .,;:'()!?-–—%$€£&/+=~’‘")
"""What may stand in a sentence beside letters and digits though its quote lacks it."""


class Checker:
    """Checks the sentences of one draft, in order, against the candidates that the model was shown.

    What passes says what one quote says (`rag.answer.verify`) and carries that quote's episodes, whatever it cited.
    A sentence that leans on the one before it in its document ("It costs …") brings that one along. Off topic is what
    only candidates support that stand below `least`.
    """

    def __init__(self, evidence: Sequence[Candidate], id_pattern: str = DEFAULT_PATTERN, least: float = 0.0) -> None:
        self._evidence, self._id_pattern = tuple(evidence), id_pattern
        self._least = least
        self._before = {(c.passage.id, c.sentence.end): c for c in evidence}
        self._said: set[object] = set()
        self._last: Candidate | None = None
        self.kept = self.mended = 0
        self.objections: Counter[Objection] = Counter()

    def check(self, text: str) -> tuple[AnswerSentence, ...] | Dropped:
        """What of a drafted sentence is shown: itself, after what it leans on; nothing where that was shown already."""
        claim, cited = read_citations(text, self._id_pattern)
        # Of several quotes that carry it, one that is to the point, and attributed to what it cites.
        ordered = sorted(
            self._evidence, key=lambda c: (c.standing < self._least, not set(cited) <= set(c.sentence.episodes))
        )
        found = verify(claim, [c.sentence.text for c in ordered], id_pattern=self._id_pattern)
        if found.verdict != "supported" or found.best is None:
            return self._drop(found.verdict)
        candidate = ordered[found.best]
        if candidate.standing < self._least:
            return self._drop("off_topic")
        quote = candidate.sentence.text
        text = _as_in("".join(c for c in claim if c.isalnum() or c in _PLAIN or c in quote), quote)
        if any(name not in quote for name in _NAME.findall(text)):
            return self._drop("unsupported")
        text = _sentence(text)
        said = sentences(text, self._id_pattern)
        if not said or said in self._said:
            return ()
        needed = with_support(candidate, self._before)[:-1] if leans(claim) else []
        if leans(claim) and not needed:
            return self._drop("unsupported")  # what it speaks of is not to be had
        episodes = candidate.sentence.episodes
        if set(cited) <= set(episodes) and (cited or not episodes):
            self.kept += 1
        else:
            self.mended += 1
        self._said.add(said)
        before = [c for c in needed if c != self._last]
        self._last = candidate
        return (
            *(shown(c, self._id_pattern) for c in before),
            AnswerSentence(text, (evidence(candidate, found.support),), drafted=True),
        )

    def _drop(self, objection: Objection) -> Dropped:
        self.objections[objection] += 1
        return Dropped(objection)


def read_citations(text: str, id_pattern: str = DEFAULT_PATTERN) -> tuple[str, tuple[str, ...]]:
    """A drafted sentence without its citations, and the episodes it cites; "In E026, …" cites as "… [E026]" does.

    >>> read_citations("According to episode E026, RL beats SFT [E009].")
    ('RL beats SFT.', ('E026', 'E009'))
    >>> read_citations("E026 shows that RL beats SFT. (E026)")
    ('RL beats SFT.', ('E026',))
    """
    markers = list(find_markers(text, id_pattern))
    cited = tuple(dict.fromkeys(e for m in markers for e in m.episodes))
    if markers and _LEAD_IN.fullmatch(text[: markers[0].start]) and (says := _SAYS.match(text, markers[0].end)):
        text = text[says.end() :]
    return plain(text, id_pattern), cited


def _as_in(text: str, quote: str) -> str:
    """A text's words with the capital letters that they have in the quote: "the apple" is not "the Apple"."""
    forms = {word.casefold(): word for word in reversed(_WORD.findall(quote))}
    exact = set(_WORD.findall(quote))
    return _WORD.sub(lambda m: m[0] if m[0] in exact else forms.get(m[0].casefold(), m[0]), text)


def _sentence(text: str) -> str:
    """With a capital letter and a full stop, as far as that is sure to be right."""
    text = text.strip().rstrip(",;:-–— ")
    if re.match(r"[a-z]+(?![\w-])", text):
        text = text[0].upper() + text[1:]
    return text if re.search(r"[.!?…][\"'”’)]*$", text) else f"{text}."
