"""A question, and what was found for it -> how likely that answers it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.answer.extract import AMOUNT, DOUBTING, VALUE, asked_terms
from rag.answer.logistic import Logistic
from rag.corpus.markers import DEFAULT_PATTERN, plain
from rag.corpus.sentences import sentence_spans

if TYPE_CHECKING:
    from rag.answer.extract import Candidate
    from rag.ports import Encoder, TermStatistics, TokenVectors, Vectors
    from rag.records import Question

PAIR = (
    "negated", "negated_alone", "negation_differs", "opposite", "prefix", "cosine", "weakest", "weakest_common",
    "figures", "names", "ranks",
)  # fmt: skip
"""What tells whether a passage answers a question, by `Answerability.pair_values`."""

FOUND = ("near", "lift", "foreign", "valueless", "missing", "causeless", "named", "overview")
"""What tells whether a corpus answers a question, by `Answerability.found_values`: the cosine of each of the first five
sentences, or of what it is said to answer, in the mean; by how much the best of the latter, of the first two, exceeds
both the best of the former and 0.3; by how much the share of the question's terms, by rarity, that the corpus never
says exceeds two fifths; whether a figure is asked for and none found; whether a figure or thing that the question
states is missing; whether a reason is asked for and none given; whether it names an episode, and asks for no more than
its limits."""

ALONE = tuple(name for name in FOUND if name != "lift")
"""Those of them there are where no candidate is said to answer anything."""

_LOOKED_AT, _NEAREST = 2, 5
"""Candidates whose text is looked at, and those whose cosines are."""

_FAR = 0.3
"""A cosine that questions on anything else reach."""

_WORD = re.compile(r"\d+(?:[.,]\d+)*[^\W_]*|[^\W\d_][^\W_]*")
_NEGATION = re.compile(
    r"n't\b|\b(?:not|never|no|none|neither|nor|without|cannot|nobody|nothing|unable|fail(?:s|ed)?|rarely|except|"
    r"lack(?:s|ed)?|(?:is|was|did|does|wo)nt)\b",
    re.IGNORECASE,
)
_RANK = re.compile(
    r"most|least|first|second|third|fourth|fifth|last|only|primary|main|best|worst|sole|final|original|current|"
    r"(?!west|interest|forest|test|request|rest|invest|protest|arrest|conquest|guest|contest|suggest|priest|nest|"
    r"harvest|honest|modest|quest|east|chest)\w{2,}est",
    re.IGNORECASE,
)
_WHY = re.compile(r"\bwhy\b|\bhow come\b|^\W*(?:the )?reasons?\b", re.IGNORECASE)
_OF_A_THING = re.compile(r"\b(?:how|who|whose|whom|when|where|why)\b", re.IGNORECASE)
_CAUSE = re.compile(
    r"\b(?:because|since|due to|as a result|reasons?|caus\w+|therefore|so that|thanks to|owing to|explain\w*|why|"
    r"stems?|lead\w* to|means?|comes? from|depends?|turns? (?:out|on)|by \w+ing)\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"\bhow many (\w+(?: \w+)?)|\bnumber of (\w+)", re.IGNORECASE)
_FIGURE_OR_WORD = re.compile(r"\d[\d.,%]*|\w+")
_PREFIX = re.compile(r"^(?:un|in|im|dis|non|ir|il|de)")
_OPPOSITES = """
    increase increasing increased increases rise rose grew growing more / decrease decreasing decreased decreases fall
    fell declined decline less ; most / least ; first / last ; before / after ; more / less ; high higher highest / low
    lower lowest ; large larger largest big biggest / small smaller smallest ; north northern / south southern ; east
    eastern / west western ; always / never ; early earlier earliest / late later latest ; old older oldest / new newer
    newest young younger youngest ; begin began started start starts / end ended ends stopped ; won win victory / lost
    lose defeat ; all every / none ; strong stronger strongest / weak weaker weakest ; good better best / bad worse
    worst ; many / few ; above / below ; inside / outside ; majority / minority ; major / minor ; common / rare ; allow
    allowed permit permitted / forbid forbidden prevent prevented ban banned ; support supported favor / oppose opposed
    against ; public / private ; same similar / different ; possible / impossible ; maximum / minimum ; positive /
    negative ; left / right ; internal / external ; include included / exclude excluded ; accept accepted / reject
    rejected ; success succeed successful / failure failed ; open opened / closed close ; male men women / female woman
    ; long longer longest / short shorter shortest ; prior / after ; formal / informal ; direct / indirect ; legal /
    illegal ; rich / poor ; buy bought / sell sold ; leave left / arrive arrived ; former / latter ; gain gained / lose
    lost ; import / export ; create created / destroy destroyed ; increase / reduce reduced
"""
_OPPOSED = frozenset(
    pair
    for line in _OPPOSITES.split(";")
    for one, other in [[side.split() for side in line.split("/")]]
    for a in one
    for b in other
    for pair in ((a, b), (b, a))
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as its words: `starts[i]` in characters, `terms[i]` the index term or None for a stop word, `vectors[i]`
    its unit vector in the company of the others, shape (n, dimension). `vector` is the whole text's.
    """

    text: str
    words: tuple[str, ...]
    starts: tuple[int, ...]
    terms: tuple[str | None, ...]
    vectors: Vectors
    vector: Vectors

    @property
    def lower(self) -> frozenset[str]:
        """The words in lower case."""
        return frozenset(word.casefold() for word in self.words)


@dataclass(frozen=True, slots=True)
class _Aligned:
    """The content words of a question against a sentence: `said[i]` whether it has the term, `nearest[i]` the cosine
    of its nearest word, `place[i]` where in the sentence that stands.
    """

    sentence: Reading
    cosine: float
    said: np.ndarray
    nearest: np.ndarray
    place: np.ndarray

    @property
    def fit(self) -> float:
        soft = np.where(self.said, 1.0, np.clip((self.nearest - 0.2) / 0.6, 0, 1))
        return 0.5 * self.cosine + 0.5 * float(soft.mean())


class Answerability:
    """P(what was found answers a question), by what it leaves unsaid.

    `encoder` gives a text's unit vector, `tokens` those of its tokens. `pair` are weights for PAIR; `model` those for
    FOUND and the least confidence to answer with, `alone` the same for ALONE. By default, those beside this file. The
    last `remembered` texts that were read are kept.
    """

    def __init__(
        self,
        encoder: Encoder,
        tokens: Callable[[str], TokenVectors],
        statistics: TermStatistics,
        *,
        id_pattern: str = DEFAULT_PATTERN,
        pair: Logistic | None = None,
        model: tuple[Logistic, float] | None = None,
        alone: tuple[Logistic, float] | None = None,
        remembered: int = 2000,
    ) -> None:
        self._encoder, self._tokens, self._statistics, self._id_pattern = encoder, tokens, statistics, id_pattern
        self._pair_given, self._model_given, self._alone_given = pair, model, alone
        self._rarest = statistics.idf("")
        self.read = lru_cache(maxsize=remembered)(self._read)

    def score(self, question: str, passage: str) -> float:
        """P(the passage answers the question), 0..1."""
        return self._pair.probability(self.pair_values(question, passage))

    def pair_values(self, question: str, passage: str) -> dict[str, float]:
        """The values of PAIR, the same in whatever order the passage's sentences stand."""
        return self._values(question, [passage[a:b] for a, b in sentence_spans(passage, 0, len(passage))])

    def judge(self, question: Question, ranked: Sequence[Candidate]) -> tuple[float, bool]:
        """P(the corpus answers the question), 0..1, by the best candidates, and whether it is enough to answer.

        0 where there is none.
        """
        if not ranked:
            return 0.0, False
        heard = any(c.sentence.asked for c in ranked)
        model, least = self._model if heard else self._alone
        confidence = model.probability(self.found_values(question, ranked))
        return confidence, confidence >= least

    def found_values(self, question: Question, ranked: Sequence[Candidate]) -> dict[str, float]:
        """The values of FOUND. Wants one candidate at least."""
        best, first = ranked[0], ranked[:_LOOKED_AT]
        texts = [plain(c.sentence.text, self._id_pattern) for c in first]
        terms = asked_terms(question, self._statistics)
        rarity = {term: self._statistics.idf(term) for term in terms}
        total = sum(rarity.values()) or 1.0
        heard, cosine = max(c.asked for c in first), max(c.cosine for c in first)
        return {
            "near": sum(max(c.asked, c.cosine) for c in ranked[:_NEAREST]) / len(ranked[:_NEAREST]),
            "lift": max(heard - max(cosine, _FAR), 0.0),
            "foreign": max(sum(idf for idf in rarity.values() if idf >= self._rarest) / total - 0.4, 0.0),
            "valueless": float(self._valueless(question.text, best, texts)),
            "missing": float(bool(best.missing)),
            "causeless": float(bool(_WHY.search(question.text)) and not any(map(_CAUSE.search, texts))),
            "named": float(bool(question.named)),
            "overview": float(self._overview(question, best, terms)),
        }

    def _overview(self, question: Question, best: Candidate, terms: Sequence[str]) -> bool:
        """Whether an episode is asked for what it is about, or at most for its limits, or a concept for what it is."""
        if question.named:
            return all(map(DOUBTING.search, terms))
        concept = best.passage.kind == "concept" and best.sentence.start == 0 and not _OF_A_THING.search(question.text)
        return concept and bool(terms) and set(terms) == set(self._statistics.terms(best.passage.title))

    def _valueless(self, question: str, best: Candidate, texts: Sequence[str]) -> bool:
        """Whether a figure is asked for, and the best candidate has none, or none of the first has one of the thing."""
        if not best.valued and AMOUNT.search(question):
            return True
        counted = _COUNTED.search(question)
        things = set(self._statistics.terms(counted.group(1) or counted.group(2))) if counted else set()
        return bool(things) and not any(self._counts(text, things) for text in texts)

    def _counts(self, text: str, things: set[str]) -> bool:
        """Whether a figure or a number word stands at most four words before one of the things."""
        words = _FIGURE_OR_WORD.findall(text)
        return any(
            VALUE.search(word) and any(not things.isdisjoint(self._statistics.terms(w)) for w in words[at + 1 : at + 5])
            for at, word in enumerate(words)
        )

    @property
    def _pair(self) -> Logistic:
        return self._pair_given or _read_pair(PAIR_MODEL)

    @property
    def _model(self) -> tuple[Logistic, float]:
        return self._model_given or read_model(MODEL)

    @property
    def _alone(self) -> tuple[Logistic, float]:
        return self._alone_given or read_model(ALONE_MODEL)

    def _values(self, question: str, sentences: Iterable[str]) -> dict[str, float]:
        asked = self.read(question.strip())
        read = [reading for text in sorted(set(sentences)) if (reading := self.read(text)) is not None]
        if asked is None or not read:
            return dict.fromkeys(PAIR, 0.0)
        return _pair_values(asked, read)

    def _read(self, text: str) -> Reading | None:
        """A text's words with their vectors; None where it has none."""
        tokens = self._tokens(text)
        starts, ends = tokens.spans[:, 0], tokens.spans[:, 1]
        words, vectors = [], []
        for match in _WORD.finditer(text):
            own = (starts < match.end()) & (ends > match.start())
            if own.any():  # what lies beyond the encoder's longest text has no token
                words.append(match)
                mean = tokens.vectors[own].mean(axis=0)
                vectors.append(mean / max(float(np.linalg.norm(mean)), 1e-9))
        if not words:
            return None
        return Reading(
            text,
            tuple(m.group() for m in words),
            tuple(m.start() for m in words),
            tuple(next(iter(self._statistics.terms(m.group())), None) for m in words),
            np.array(vectors, dtype=np.float32),
            self._encoder.encode([text])[0],
        )


def _align(asked: Reading, content: Sequence[int], sentence: Reading) -> _Aligned:
    cosines = asked.vectors[content] @ sentence.vectors.T
    same = np.array([[asked.terms[i] is not None and asked.terms[i] == t for t in sentence.terms] for i in content])
    stop = np.array([t is None for t in sentence.terms])
    among = cosines if stop.all() else np.where(stop, -1.0, cosines)
    return _Aligned(
        sentence,
        float(asked.vector @ sentence.vector),
        np.asarray(same.any(axis=1)),
        among.max(axis=1),
        cosines.argmax(axis=1),
    )


def _pair_values(asked: Reading, sentences: Sequence[Reading]) -> dict[str, float]:
    content = [i for i, term in enumerate(asked.terms) if term is not None] or list(range(len(asked.words)))
    aligned = [_align(asked, content, sentence) for sentence in sentences]
    best = max(aligned, key=lambda a: a.fit)
    nearest = max(aligned, key=lambda a: a.cosine)
    name = np.array([asked.words[i][0].isupper() and asked.starts[i] > 0 for i in content])
    figure = np.array([any(c.isdigit() for c in asked.words[i]) for i in content])
    common = ~name & ~figure
    missing = ~best.said
    soft = np.where(best.said, 1.0, np.clip((best.nearest - 0.2) / 0.6, 0, 1))
    question, said = asked.lower, best.sentence.lower
    whole = frozenset(word for sentence in sentences for word in sentence.lower)
    negated, negative = (_NEGATION.search(r.text) is not None for r in (asked, best.sentence))
    ranks = {word for word in question if _RANK.fullmatch(word)}
    return {
        "negated": float(negated),
        "negated_alone": float(negated and not negative),
        "negation_differs": float(_negated_near(nearest) != negated),
        "opposite": float(any(a in question and a not in said and b in said for a, b in _OPPOSED)),
        "prefix": float(any(_negates(word, whole) for word in question - whole)),
        "cosine": nearest.cosine,
        "weakest": _least(best.nearest[missing]),
        "weakest_common": _least(best.nearest[missing & common]),
        "figures": float((figure & missing).sum()),
        "names": float(soft[name].mean()) if name.any() else 1.0,
        "ranks": float(len(ranks - said)),
    }


def _least(values: np.ndarray) -> float:
    return float(values.min()) if len(values) else 1.0


def _negated_near(aligned: _Aligned) -> bool:
    """Whether a negation stands within 25 characters of a word that the question has, or nearly has."""
    starts = aligned.sentence.starts
    held = [starts[place] for place, cosine in zip(aligned.place, aligned.nearest, strict=True) if cosine > 0.45]
    negations = [match.start() for match in _NEGATION.finditer(aligned.sentence.text)]
    return any(abs(at - start) < 25 for at in negations for start in held)


def _negates(word: str, others: frozenset[str]) -> bool:
    """Whether a word is another's opposite by its prefix ("informal", "formal")."""
    bare = _PREFIX.sub("", word)
    return len(word) > 4 and ((bare != word and bare in others) or any(_PREFIX.sub("", o) == word for o in others))


PAIR_MODEL, MODEL, ALONE_MODEL = (
    Path(__file__).with_name(f"{name}.json") for name in ("answerability_pair", "answerability", "answerability_alone")
)
"""Where `rag eval fit answerability` leaves the weights."""
_read_pair = lru_cache(maxsize=1)(Logistic.read)


@lru_cache(maxsize=2)
def read_model(path: Path) -> tuple[Logistic, float]:
    """Weights for FOUND or ALONE, and the least confidence to answer with."""
    values = json.loads(path.read_text(encoding="utf-8"))
    least = float(values.pop("least"))
    return Logistic(**values), least


def write_model(path: Path, model: Logistic, least: float) -> None:
    """As `read_model` reads it."""
    model.write(path)
    values = json.loads(path.read_text(encoding="utf-8")) | {"least": round(least, 4)}
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
