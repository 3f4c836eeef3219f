"""Drafted sentences -> sentences of the evidence that they repeat, under its citations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rag.answer.cut import cut
from rag.answer.extract import Candidate, evidence, leans, preceding, shown
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
# "But its …", "Once that history …", "Another one …": what is meant stands before.
_REFERS = re.compile(
    r"(?:(?:but|yet|and|so|still|once|meanwhile|even|then|also|on|in|at|with|for|after|when)\b[^,;]{0,30}?\s)?"
    r"(?:it|its|they|their|them|this|that|these|those|such|he|she|his|her|both|another|"
    r"the (?:same|other|latter|former))\b",
    re.I,
)
_NEAREST = 6
"""Quotes that a sentence is held against: those that share most words with it."""


class Checker:
    """Checks the sentences of one draft, in order, against the candidates that the model was shown.

    What is shown are the corpus's own characters. A sentence that repeats a quote, or whole clauses of it (`cut`), is
    shown as far as it does; one that a quote carries in slightly other words (`rag.answer.verify`) is shown as the
    whole quote, since a changed word, or a cut elsewhere, may change what is said. Either carries the quote's episodes,
    whatever it cited. What refers to the sentence before it in its document ("Its cost …") comes directly behind that
    one. Off topic is what only candidates support that stand below `least`. `best` is the highest score of what passed.
    """

    def __init__(self, candidates: Sequence[Candidate], id_pattern: str = DEFAULT_PATTERN, least: float = 0.0) -> None:
        self._candidates, self._id_pattern = tuple(candidates), id_pattern
        self._plain = {c: plain(c.sentence.text, id_pattern) for c in candidates}
        self._words = {c: set(self._plain[c].casefold().split()) for c in candidates}
        self._least = least
        self._before = {(c.passage.id, c.sentence.end): c for c in candidates}
        self._said: set[object] = set()
        self._last: Candidate | None = None
        self.kept = self.mended = self.quoted = 0
        self.best = 0.0
        self.objections: Counter[Objection] = Counter()

    def check(self, text: str) -> tuple[AnswerSentence, ...] | Dropped:
        """What of a drafted sentence is shown, after what it refers to; nothing where that was shown already."""
        claim, cited = read_citations(text, self._id_pattern)
        words = set(claim.casefold().split())
        # Of several quotes that carry it, one that is to the point, and attributed to what it cites.
        ordered = sorted(
            sorted(self._candidates, key=lambda c: -len(words & self._words[c]))[:_NEAREST],
            key=lambda c: (c.standing < self._least, not set(cited) <= set(c.sentence.episodes)),
        )
        candidate, repeated = next(((c, part) for c in ordered if (part := self._cut(claim, c))), (None, None))
        if candidate is None:
            longest = max((len(self._plain[c]) for c in ordered), default=0)
            if len(claim) > 1.5 * longest:
                return self._drop("unsupported")
            found = verify(claim, [c.sentence.text for c in ordered], id_pattern=self._id_pattern)
            if found.verdict != "supported" or found.best is None:
                return self._drop(found.verdict)
            candidate = ordered[found.best]
        if candidate.standing < self._least:
            return self._drop("off_topic")
        whole = shown(candidate, self._id_pattern)
        text = repeated or whole.text
        said = sentences(text, self._id_pattern)
        if not said or said in self._said:
            return ()
        before = self._referred(candidate, text)
        if before is None:
            return self._drop("unsupported")
        self._count(cited, candidate, repeated is not None)
        self._said.update(sentences(c.text, self._id_pattern) for c in before)
        self._said.add(said)
        self.best = max(self.best, candidate.score)
        self._last = candidate if text == whole.text else None
        if repeated is None:
            return (*before, whole)
        return (*before, AnswerSentence(text, (evidence(candidate, 1.0),), drafted=True))

    def _cut(self, claim: str, candidate: Candidate) -> str | None:
        part = cut(claim, self._plain[candidate])
        several = len(candidate.sentence.episodes) > 1  # a part of it may be one episode's alone
        return None if several and part != cut(self._plain[candidate], self._plain[candidate]) else part

    def _referred(self, candidate: Candidate, text: str) -> tuple[AnswerSentence, ...] | None:
        """What has to stand before the text for it to be understood; None where that is not to be had."""
        if not (leans(text) or _REFERS.match(text)):
            return ()
        support = preceding(candidate, self._before)
        if support is None:
            return () if not leans(text) and not self._said else None
        return () if support == self._last else (shown(support, self._id_pattern),)

    def _count(self, cited: Sequence[str], candidate: Candidate, repeated: bool) -> None:
        if not repeated:
            self.quoted += 1
        elif set(cited) <= set(candidate.sentence.episodes):
            self.kept += 1
        else:
            self.mended += 1

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
