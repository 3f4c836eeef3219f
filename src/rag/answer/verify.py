"""A claim and quotes -> a verdict: is the claim what one quote says?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

from rag.answer.support import Support
from rag.answer.wording import BE, FACTIVE, JOINS, LIGHT, NEGATIONS, PREPOSITIONS, Word, follows, words
from rag.corpus.markers import DEFAULT_PATTERN, find_markers, plain
from rag.ports import Entailment, TokenEncoder
from rag.records import Verdict


@dataclass(frozen=True, slots=True)
class Verification:
    """A verdict. `support` in 0..1 says how much of the claim the quote carries: 1 for its very words, at least 0.9
    where supported, below 0.9 otherwise. `best` is the index of that quote, None where there is none.
    """

    verdict: Verdict
    support: float
    best: int | None


DERIVED, CEILING = 0.95, 0.89
_NEAREST = 3  # a model looks at the quotes that are nearest by their words, and no more
Sentences = tuple[tuple[Word, ...], ...]
View = Callable[[tuple[Word, ...]], tuple[Word, ...]]


def verify(
    claim: str,
    quotes: Sequence[str],
    *,
    encoder: TokenEncoder | None = None,
    entailment: Entailment | None = None,
    cited: Sequence[str] = (),
    attributed: Sequence[Sequence[str]] = (),
    id_pattern: str = DEFAULT_PATTERN,
) -> Verification:
    """Whether one quote says what the claim says.

    Supported is what can be had from one quote, each sentence of the claim from one of its sentences, by leaving out
    light words and whole pieces (`wording.follows`). Similarity, by words, by vectors or by an entailment model, never
    makes a claim supported (of claims whose every term the passages hold, one in six is not): it only says how near
    it came (`support.Support`).
    `attributed[i]` are the episodes of `quotes[i]` (where omitted, those that its text marks); each ID in `cited`,
    and with `attributed` each that the claim's text marks, has to be among the supporting quote's.

    >>> verify("It costs $25 on a 32B model.", ["If all goes well, it costs 25 dollars on a 32B model."]).verdict
    'unsupported'
    >>> quotes = ["In that setup, RL beats SFT by 3.8 points, on a large model E026.", "Costs fell by half."]
    >>> [verify(c, quotes).verdict for c in ("RL beats SFT by 3.8 points.", "RL beats SFT by 38 points.")]
    ['supported', 'number_changed']
    >>> [verify(c, quotes).verdict for c in ("SFT beats RL by 3.8 points.", "RL never beats SFT by 3.8 points.")]
    ['unsupported', 'negation_changed']
    >>> verify("RL beats SFT by half.", quotes).verdict
    'stitched'
    >>> verify("SFT is beaten by RL.", ["RL beats SFT."], cited=["E009"], attributed=[["E026"]]).verdict
    'misattributed'
    >>> verify('It "never beats SFT".', quotes).verdict
    'not_found'
    """
    ids = list(cited) + [e for m in find_markers(claim, id_pattern) for e in m.episodes if attributed]
    episodes = attributed or [[e for m in find_markers(q, id_pattern) for e in m.episodes] for q in quotes]
    said = sentences(claim, id_pattern)
    read = [sentences(quote, id_pattern) for quote in quotes]
    if not any(map(_content, said)):
        return Verification("unsupported", 0.0, None)
    quoted = _quotations(claim, id_pattern)
    found = [all(any(_inside(q, s) for s in own) for q in quoted) for own in read]
    carrying = [at for at, own in enumerate(read) if found[at] and _carries(said, own)]
    for at in carrying:
        if set(ids) <= set(episodes[at] if at < len(episodes) else ()):
            verbatim = all(any(_inside(s, o) for o in read[at]) for s in said)
            return Verification("supported", 1.0 if verbatim else DERIVED, at)
    if carrying:
        return Verification("misattributed", CEILING, carrying[0])
    said_plainly, texts = plain(claim, id_pattern), [plain(quote, id_pattern) for quote in quotes]
    nearness = {at: Support().score(said_plainly, [text]) for at, text in enumerate(texts)}
    if encoder is not None or entailment is not None:
        support = Support(encoder, entailment)
        nearest = sorted(nearness, key=lambda at: -nearness[at])[:_NEAREST]
        nearness = {at: support.score(said_plainly, [texts[at]]) for at in nearest}
    best = max(nearness, key=lambda at: nearness[at], default=None)
    if best is None:
        return Verification("not_found" if quoted else "unsupported", 0.0, None)
    return Verification(_why(said, read, best, bool(quoted) and not any(found)), min(nearness[best], CEILING), best)


def _why(said: Sentences, read: Sequence[Sentences], best: int, invented: bool) -> Verdict:
    """Which way a claim that nothing supports is wrong."""
    if any(_carries(said, own, _masked) for own in read):
        return "number_changed"
    if any(_carries(said, own, _affirmed) for own in read):
        return "negation_changed"
    if invented:
        return "not_found"
    mine = {w for s in said for w in _content(s)}
    near = {w for s in read[best] for w in _content(s)}
    figures = {w.key for w in mine if w.kind == "figure"}
    rest = {w.stem for w in mine if w.kind != "figure"}
    if not figures <= {w.key for w in near} and len(rest & {w.stem for w in near}) >= 0.75 * len(rest):
        return "number_changed"
    if _holds([w for own in read for s in own for w in s], mine):
        return "unsupported" if any(_holds(s, mine) for own in read for s in own) else "stitched"
    return "unsupported"


def _holds(text: Sequence[Word], wanted: Set[Word]) -> bool:
    exact, loose = {w.key for w in text}, {w.stem for w in text if w.kind == "word"}
    return all(w.key in exact or (w.kind == "word" and w.stem in loose) for w in wanted)


@lru_cache(maxsize=4096)
def sentences(text: str, id_pattern: str = DEFAULT_PATTERN) -> Sentences:
    """A text's sentences as words, markers and light words gone, each ending in "." or "?"."""
    out: list[tuple[Word, ...]] = []
    now: list[Word] = []
    for word in words(plain(text, id_pattern)):
        if word.key not in LIGHT and not (word.key == "that" and now and now[-1].key in FACTIVE):
            now.append(word)
        if word.key in (".", "?"):
            out.append(tuple(now))
            now = []
    while now and now[-1].kind == "break":  # a claim may end where its marker stood, with a semicolon
        now.pop()
    out.append((*now, Word(".", ".", "break")))
    return tuple(s for s in out if len(s) > 1)


def _content(sentence: Sequence[Word]) -> list[Word]:
    return [w for w in sentence if w.kind != "break" and w.key not in BE | JOINS | PREPOSITIONS]


def _quotations(claim: str, id_pattern: str) -> list[tuple[Word, ...]]:
    """What the claim puts in quotation marks, as words without breaks."""
    spans = re.findall(r"[\"“„«]([^\"“”„«»]+)[\"”“»]", plain(claim, id_pattern))
    return [tuple(w for s in sentences(span) for w in s if w.kind != "break") for span in spans]


def _inside(part: Sequence[Word], whole: Sequence[Word]) -> bool:
    """Whether the words of `part` stand in `whole` one after the other, in their exact forms."""
    keys, all_keys = ([w.key for w in s if w.kind != "break"] for s in (part, whole))
    return any(all_keys[at : at + len(keys)] == keys for at in range(len(all_keys) - len(keys) + 1))


def _masked(sentence: tuple[Word, ...]) -> tuple[Word, ...]:
    return tuple(Word("#", "#", "figure") if w.kind == "figure" else w for w in sentence)


def _affirmed(sentence: tuple[Word, ...]) -> tuple[Word, ...]:
    return tuple(w for w in sentence if w.key not in NEGATIONS and w.key not in ("do", "does", "did", "to"))


def _carries(said: Sentences, own: Sentences, view: View = tuple) -> bool:
    """Whether every sentence of the claim follows from a sentence of the quote, both seen through `view`."""
    seen = [view(sentence) for sentence in own]
    return all(any(follows(view(sentence), s) for s in seen) for sentence in said)
