"""Passages -> evidence sentences, without a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice

from rag.answer.abstain import Why
from rag.corpus.markers import DEFAULT_PATTERN, find_markers, plain
from rag.ports import Encoder, TermStatistics
from rag.records import AnswerSentence, Evidence, Hit, Passage, Question, Ranking, Sentence


@dataclass(frozen=True, slots=True)
class ExtractValues:
    """How evidence is chosen.

    `passages` best hits are read; `sentences` at most are shown. A sentence scores `cosine_weight` times its cosine
    with the question plus the rest times the share of the question's terms, weighted by rarity, that it covers; what
    it is said to answer counts as its own words do. Candidates stand in order of that, plus `hit_weight` times their
    passage's score (up to 1), plus `limit_bonus` for one that states a limit where the question doubts. Where nothing
    else judges, the best is no evidence below `least_score` (`least_named` where the question names an episode), or if
    what it and its passage leave uncovered weighs more than 1 - `least_coverage`. A further sentence must reach `keep`
    of the best one's score and cover `least_gain` of the question's weight that is not covered yet, or score as the
    best does; `repeats` is the share of words from which on it says the same again.
    """

    passages: int = 10
    sentences: int = 3
    cosine_weight: float = 0.6
    least_score: float = 0.36
    least_named: float = 0.2
    least_coverage: float = 0.3
    keep: float = 0.75
    least_gain: float = 0.15
    repeats: float = 0.6
    hit_weight: float = 0.5
    limit_bonus: float = 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may be evidence. `score`, `coverage` in 0..1; `rank` is its passage's.

    `standing` is what candidates are in order of. `valued` says whether it holds a figure or a number word of its
    own; the digits of a marker are none. `covers` are the terms of the question that the sentence has, each with
    its share of the question's weight. `missing` are
    the figures that the question states and the passage does not, and what is counted ("how many GPUs") or set
    ("learning rate") where the sentence does not name it. `cosine` is the sentence's with the question, `asked` that
    of the nearest question that it is said to answer, 0 where there is none.
    """

    passage: Passage
    sentence: Sentence
    rank: int
    score: float
    coverage: float
    terms: frozenset[str]
    valued: bool = True
    covers: frozenset[tuple[str, float]] = frozenset()
    missing: frozenset[str] = frozenset()
    cosine: float = 0.0
    asked: float = 0.0
    standing: float = 0.0


AMOUNT = re.compile(
    r"\bhow (?:much|many|long|often|fast|large|big|far|few|expensive|cheap)\b|\bwhat (?:percent|percentage|share|"
    r"fraction|number|rate|cost|price|score|accuracy|size)\b|\b(?:percentage|learning rate|batch size)\b",
    re.IGNORECASE,
)
_NAMES = re.compile(r"[a-z]*?0*(\d+)")  # "e26", "e026", and the "26" of "episode 26"
_FIGURE = re.compile(r"\d+(?:\.\d+)?[kmbx]?")
_STATES = re.compile(r"\w[^?]*$")  # a rhetorical question states nothing, nor does a rule of dashes
_PLAIN_WORD = re.compile(r"[a-z]+(?![\w-])")  # "vLLM" and "µP" keep their first letters
# What is counted or set, and has to be named beside its value.
DOUBTING = re.compile(
    r"\b(?:limit\w*|caveats?|weak\w*|trust\w*|critic\w*|concerns?|flaws?|flawed|solid|reliab\w*|doubt\w*|convinc\w*|catch|"
    r"downsides?|drawbacks?|s[kc]eptic\w*|robust|shortcomings?|holes?|holds? up|debunk\w*|for real)\b",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"\b(?:limit\w*|caveats?|untested|unclear|critic\w*|estimates?|doubt\w*|weak\w*|objections?|concerns?|simulat\w*|toy|"
    r"assum\w*|art[ei]facts?|(?:may|might) be|one (?:library|model|benchmark|domain)|alone|rests? on|only)\b",
    re.IGNORECASE,
)
_THINGS = re.compile(
    r"\bhow many (\w+)|\b(?:learning rate|batch size|context (?:length|window)|weight decay|random seed|optimi[sz]er)"
    r"s?\b",
    re.IGNORECASE,
)
VALUE = re.compile(
    r"\d|\b(?:half|twice|double[sd]?|triple[sd]?|tenfold|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|"
    r"twelve|fifteen|twenty|thirty|forty|fifty|sixty|hundreds?|thousands?|millions?|billions?|dozens?|orders? of "
    r"magnitude|third|quarter|none)\b",
    re.IGNORECASE,
)
_LEANS = re.compile(
    r"(?:this|that|these|those|it|its|they|their|such|the same|there|here|he|she|both)\b", re.IGNORECASE
)


def candidates(
    question: Question,
    hits: Ranking,
    encoder: Encoder,
    statistics: TermStatistics,
    values: ExtractValues,
    id_pattern: str = DEFAULT_PATTERN,
) -> list[Candidate]:
    """Every sentence of the best passages that states something, best first.

    Where the question names episodes, or its filters do, only sentences attributed to one of them.
    """
    asked = asked_terms(question, statistics)
    weight = {term: statistics.idf(term) for term in asked}
    total = sum(weight.values()) or 1.0
    things = {
        m.group(1) or m.group(): statistics.terms(m.group(1) or m.group()) for m in _THINGS.finditer(question.text)
    }
    only = set(question.named or question.filters.episodes)
    pool = [
        (hit, sentence, text)
        for hit in (hits[: values.passages] if asked else hits)
        for sentence in hit.passage.sentences
        if not only or not only.isdisjoint(sentence.episodes)
        if _STATES.search(text := plain(sentence.text, id_pattern))
    ]
    if not pool:
        return []
    if question.named and not asked:
        return _overview(pool, statistics)
    vectors = encoder.encode([*(text for _, _, text in pool), *(ask for _, s, _ in pool for ask in s.asked)])
    every = iter((vectors @ encoder.encode([question.text])[0]).tolist())
    cosines = list(islice(every, len(pool)))
    # What a sentence is said to answer speaks for it, in meaning and in words; it states nothing.
    heard = [max(islice(every, len(s.asked)), default=0.0) for _, s, _ in pool]
    doubting = DOUBTING.search(question.text) is not None
    out = []
    for (hit, sentence, text), cosine, ask in zip(pool, cosines, heard, strict=True):
        own = frozenset(statistics.terms(text))
        asks = frozenset(t for line in sentence.asked for t in statistics.terms(line))
        around = own | frozenset(statistics.terms(f"{hit.passage.title} {hit.passage.heading} {hit.passage.text}"))
        covered = sum(weight[t] for t in asked if t in own | asks) / total
        near = sum(weight[t] for t in asked if t in around | asks) / total
        score = values.cosine_weight * max(cosine, ask, 0.0) + (1 - values.cosine_weight) * (0.7 * covered + 0.3 * near)
        valued = VALUE.search(_unmarked(text, id_pattern)) is not None
        if not valued and AMOUNT.search(question.text):
            score *= 0.7
        standing = score + values.hit_weight * min(max(hit.score, 0.0), 1.0)
        if doubting and _LIMIT.search(text):
            standing += values.limit_bonus
        unstated = {t for t in asked if _FIGURE.fullmatch(t) and _spelled(t).isdisjoint(around)}
        absent = {thing for thing, needed in things.items() if not own.issuperset(needed)}
        out.append(
            Candidate(
                hit.passage,
                sentence,
                hit.rank,
                score,
                near,
                own,
                valued,
                covers=frozenset((t, weight[t] / total) for t in own.intersection(asked)),
                missing=frozenset(unstated | absent),
                cosine=cosine,
                asked=ask,
                standing=standing,
            )
        )
    return sorted(out, key=lambda c: (-c.standing, c.rank, c.sentence.start))


def asked_terms(question: Question, statistics: TermStatistics) -> list[str]:
    """The question's terms, each once, without those that only ask and those that name an episode.

    None where it names an episode and beside that only what every episode has, as in "What does E026 find?".
    """
    numbers = {int(digits) for id in question.named for digits in re.findall(r"\d+", id)}
    named = {t for t in statistics.terms(question.text) if (m := _NAMES.fullmatch(t)) and int(m.group(1)) in numbers}
    asked = [t for t in dict.fromkeys(statistics.terms(question.text)) if t not in named and t not in ASKING]
    general = question.named and _OF_EVERY_EPISODE.issuperset(asked) and not AMOUNT.search(question.text)
    return [] if general else asked


def _unmarked(text: str, id_pattern: str) -> str:
    kept, last = [], 0
    for marker in find_markers(text, id_pattern):
        kept.append(text[last : marker.start])
        last = marker.end
    return "".join([*kept, text[last:]])


def _overview(pool: Sequence[tuple[Hit, Sentence, str]], statistics: TermStatistics) -> list[Candidate]:
    """For "E026?" or "compare E009 and E010": what an episode's own summary says, from its beginning."""
    place = Counter[str]()
    ordered = []
    for hit, sentence, text in sorted(pool, key=lambda row: row[1].start):
        place[hit.passage.document] += 1
        ordered.append(
            ((hit.passage.kind != "episode", place[hit.passage.document], hit.passage.document), hit, sentence, text)
        )
    ordered.sort(key=lambda row: row[0])
    return [
        Candidate(hit.passage, sentence, hit.rank, 1.0, 1.0, frozenset(statistics.terms(text)))
        for _, hit, sentence, text in ordered
    ]


_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905


def _spelled(figure: str) -> set[str]:
    return {figure, *([_NUMBER_WORDS[int(figure)]] if figure.isdigit() and int(figure) < len(_NUMBER_WORDS) else [])}


# Index terms that ask and say nothing of what is asked.
ASKING = frozenset(
    """
    episod paper review podcast show say said tell explain describ us corpus much mani long often until
    compar comparison contrast differ versus vs summari summar summaris summariz overview main point talk
    pleas thank hi hey defin definit mean eli5
    """.split()  # noqa: SIM905
)


# Index terms of what every episode has, so that who asks one for them alone asks what it is about.
_OF_EVERY_EPISODE = frozenset(
    """
    find found result conclud conclus argu claim report discov learn teach takeaway take away key messag gist idea
    discuss cover present studi research topic subject contribut import new thing
    """.split()  # noqa: SIM905
)


def choose(
    question: Question, ranked: Sequence[Candidate], values: ExtractValues, sure: bool | None = None
) -> tuple[list[Candidate], str | None]:
    """The sentences to show, the best first, or none and the reason.

    `sure` says whether the corpus is likely enough to answer; where it is None, fixed thresholds and rules decide. What
    the question states and the best candidate misses forbids an answer in any case.
    """
    if not ranked:
        return [], Why.NOTHING_FOUND
    alone = [c for c in ranked if not question.named or set(question.named).issuperset(c.sentence.episodes)]
    # Asked of an episode, a sentence on a whole group of them is for want of a better one.
    best = next((c for c in alone if c.score >= values.keep * ranked[0].score), ranked[0])
    reason = _lacking(question, best, values)
    if sure and not best.missing:
        reason = None
    elif sure is False and reason is None:
        reason = Why.UNLIKELY
    if reason is not None:
        return [], reason
    # Each episode that the question names has its say; where it names one or none, the best sentence does.
    speakers = [next((c for c in (*alone, *ranked) if e in c.sentence.episodes), best) for e in question.named] or [
        best
    ]
    before = {(c.passage.id, c.sentence.end): c for c in ranked}
    chosen = list(dict.fromkeys(c for speaker in speakers for c in with_support(speaker, before)))[: values.sentences]
    for candidate in alone:
        if len(chosen) >= values.sentences or candidate.score < values.keep * best.score:
            break
        adds = sum(share for _, share in candidate.covers - {t for other in chosen for t in other.covers})
        if adds < values.least_gain and candidate.score < best.score:
            continue
        unsupported = set(with_support(candidate, before)) - {candidate, *chosen}
        if not unsupported and all(_overlap(candidate, other) < values.repeats for other in chosen):
            chosen.append(candidate)
    if not any(c.sentence.episodes for c in chosen):  # a definition, say: an episode that bears on it goes with it
        citing = (c for c in ranked if c.sentence.episodes and c.covers and c.score >= values.keep * best.score)
        chosen = [*chosen[: values.sentences - 1], *[c for c in citing if with_support(c, before) == [c]][:1]]
    return _readable(chosen, len(with_support(best, before))), None


def _lacking(question: Question, best: Candidate, values: ExtractValues) -> str | None:
    """What the best candidate lacks."""
    if best.missing:
        return f"{Why.WORDS_MISSING} {', '.join(sorted(best.missing))}"
    if best.score < (values.least_named if question.named else values.least_score):
        return Why.TOO_FAR
    if best.coverage < values.least_coverage and not question.named:
        return Why.NOT_COVERED
    if not best.valued and AMOUNT.search(question.text):
        return Why.NO_FIGURE
    return None


def with_support(candidate: Candidate, before: Mapping[tuple[str, int], Candidate]) -> list[Candidate]:
    """A candidate, after the one just before it in its passage where it leans on that."""
    support = preceding(candidate, before) if leans(candidate.sentence.text) else None
    return [candidate] if support is None else [support, candidate]


def preceding(candidate: Candidate, before: Mapping[tuple[str, int], Candidate]) -> Candidate | None:
    """The candidate just before another in its passage; `before` has them by their passage's ID and their end."""
    place = candidate.sentence.start - candidate.passage.start
    end = candidate.passage.start + len(candidate.passage.text[:place].rstrip())
    return before.get((candidate.passage.id, end))


def unsaid(chosen: Sequence[Candidate], said: Set[Candidate]) -> list[Candidate]:
    """The chosen sentences that are not said yet; one that leans on a sentence said before brings that along again."""
    out: list[Candidate] = []
    for at, candidate in enumerate(chosen):
        if candidate in said:
            continue
        before = {(c.passage.id, c.sentence.end): c for c in chosen[:at]}
        support = preceding(candidate, before) if leans(candidate.sentence.text) else None
        out += [support, candidate] if support is not None and support in said else [candidate]
    return out


def _overlap(a: Candidate, b: Candidate) -> float:
    small = min(len(a.terms), len(b.terms))
    return len(a.terms & b.terms) / small if small else 1.0


def _readable(chosen: list[Candidate], first: int) -> list[Candidate]:
    """The first ones as they are, since they answer; then document by document, each document's in reading order."""
    order = list(dict.fromkeys(c.passage.document for c in chosen))
    rest = sorted(chosen[first:], key=lambda c: (order.index(c.passage.document), c.sentence.start))
    return [*chosen[:first], *rest]


def leans(text: str) -> bool:
    """Whether a sentence needs the one before it ("This recasts …")."""
    return _LEANS.match(text) is not None


def shown(candidate: Candidate, id_pattern: str = DEFAULT_PATTERN) -> AnswerSentence:
    """A candidate as an answer's sentence: its own words, on its own quote."""
    text = plain(candidate.sentence.text, id_pattern)
    if text.endswith(";"):
        text = f"{text[:-1]}."
    if _PLAIN_WORD.match(text):
        text = text[0].upper() + text[1:]
    return AnswerSentence(text, (evidence(candidate, 1.0),))


def evidence(candidate: Candidate, support: float) -> Evidence:
    """A candidate's sentence as what another stands on."""
    sentence, passage = candidate.sentence, candidate.passage
    return Evidence(
        document=passage.document,
        title=passage.title,
        heading=passage.heading,
        start=sentence.start,
        end=sentence.end,
        quote=sentence.text,
        episodes=sentence.episodes,
        attribution=sentence.attribution,
        support=support,
    )
