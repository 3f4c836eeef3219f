"""What a run, an answer and a confidence are worth. Pure arithmetic."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.errors import NotFound, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from rag.evals.datasets import EvalQuestion
    from rag.records import Answer, Evidence

RETRIEVAL_MEASURES = ("nDCG@10", "R@5", "R@20", "R@100", "RR", "Success@1")

ANSWER_MEASURES = (
    "citation_precision", "citation_recall", "quote_precision", "quote_recall", "fact_recall", "unsupported_share",
    "abstention_precision", "abstention_recall", "abstention_accuracy", "answered_share",
    "lack_precision", "lack_recall",
)  # fmt: skip

_MAX_CUTOFF = 10**9


def score_run(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = RETRIEVAL_MEASURES,
) -> dict[str, dict[str, float]]:
    """Measure -> query -> value, for every judged query, by ir-measures; names come back in its own spelling.

    A judged query that the run misses, or for which it found nothing, scores 0; one without judgements is left out.
    Scores rank, as trec_eval has it: compared as float32, ties by id from z to a. Besides its measures there are RR@k
    and Judged@k, which break ties from a to z. Raises UserError on a measure.

    >>> score_run({"q1": {"a": 0.9, "b": 0.8}}, {"q1": {"b": 1}, "q2": {"c": 1}}, ["RR", "Success@1"])
    {'RR': {'q1': 0.5, 'q2': 0.0}, 'Success@1': {'q1': 0.0, 'q2': 0.0}}
    """
    import ir_measures

    wanted = "wanted names as ir-measures writes them, such as nDCG@10, R@100, RR"
    # The others want programs of their own, or judgements by aspect.
    providers = (ir_measures.pytrec_eval, ir_measures.msmarco, ir_measures.judged)
    parsed = {}
    for name in measures:
        try:
            parsed[name] = ir_measures.parse_measure(name)
            parsed[name].validate_params()
        except (NameError, ValueError) as error:
            raise UserError(f"unknown measure {name!r} ({error}); {wanted}") from None
        except AssertionError:  # its text shows an object where a parameter is missing
            found = f"measure {name!r} lacks a cutoff, or has a parameter that it cannot take"
            raise UserError(f"{found}; {wanted}") from None
        if not 1 <= parsed[name].params.get("cutoff", 1) <= _MAX_CUTOFF:  # trec_eval would abort the whole process
            raise UserError(f"measure {name!r} has a cutoff below 1 or above {_MAX_CUTOFF}; {wanted}")
        if not any(provider.supports(parsed[name]) for provider in providers):
            raise UserError(f"measure {name!r} cannot be computed here; {wanted}")
    out = {str(measure): dict.fromkeys(qrels, 0.0) for measure in parsed.values()}
    ranked = {query: {id: float(score) for id, score in run[query].items()} for query in qrels if run.get(query)}
    judged = {query: dict(grades) for query, grades in qrels.items() if query in ranked and grades}
    if not judged:
        return out
    try:
        for value in ir_measures.iter_calc(list(parsed.values()), judged, ranked):
            out[str(value.measure)][value.query_id] = float(value.value)
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"cannot compute {', '.join(measures)} ({error}); {wanted}") from None
    return out


def bootstrap_interval(
    values: Sequence[float], *, seed: int = 0, samples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron & Tibshirani 1993, ch. 13); the same seed, the same interval.

    >>> bootstrap_interval([1.0, 1.0, 1.0])
    (1.0, 1.0)
    """
    import numpy as np

    data = np.asarray(values, dtype=np.float64)
    if not data.size or samples < 1 or not 0 < level < 1:
        raise ValueError(f"wanted values, samples and a level in 0..1, not {data.size}, {samples} and {level}")
    random = np.random.default_rng(seed)
    block = max(1, 4_000_000 // data.size)  # so that a large set needs 32 MB at a time, not samples x size
    sizes = [min(block, samples - done) for done in range(0, samples, block)]
    means = np.concatenate([data[random.integers(data.size, size=(n, data.size))].mean(axis=1) for n in sizes])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_interval_of(
    statistic: Callable[[NDArray[np.intp]], float],
    n: int,
    *,
    seed: int = 0,
    samples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """As bootstrap_interval, for a figure that is no mean: `statistic` takes n indices, drawn with replacement.

    A sample for which it is not a number (AUROC of one label alone) is left out; raises ValueError where all are.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    values = np.array([statistic(random.integers(n, size=n)) for _ in range(samples)])
    values = values[~np.isnan(values)]
    if not values.size:
        raise ValueError(f"no sample of {n} has a value")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """How often a score of label True is above one of label False, a tie counting half; 0..1, 0.5 is chance.

    By ranks, as in Mann & Whitney (1947). NaN where one of the labels is missing: there is nothing to compare.

    >>> auroc([0.9, 0.8, 0.8, 0.1], [True, True, False, False])
    0.875
    """
    import numpy as np

    label = np.asarray(labels, dtype=bool)
    _, inverse, counts = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # tied scores share their middle rank
    above, below = int(label.sum()), int((~label).sum())
    if not above or not below:
        return float("nan")
    return float((ranks[label].sum() - above * (above + 1) / 2) / (above * below))


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """What answering only the surest questions risks: `risk[i]` is the share of errors at `coverage[i]`, both in 0..1.

    `aurc` is the area under the curve, the mean of the risks; lower is better.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    aurc: float


def risk_coverage(confidences: ArrayLike, correct: ArrayLike) -> RiskCoverage:
    """The curve of Geifman & El-Yaniv (2017), at every coverage 1/n, 2/n, …, 1, and its area (with Uziel, 2019).

    Questions of one confidence come in no order: each risk is its expectation over all orders of them.

    >>> risk_coverage([0.9, 0.5, 0.5], [True, False, True]).risk
    (0.0, 0.25, 0.3333333333333333)
    """
    import numpy as np

    error = ~np.asarray(correct, dtype=bool)
    if not error.size:
        raise ValueError("wanted at least one confidence")
    _, level, sizes = np.unique(-np.asarray(confidences, dtype=np.float64), return_inverse=True, return_counts=True)
    share = np.bincount(level, weights=error, minlength=sizes.size) / sizes
    ranks = np.arange(1, error.size + 1)
    risks = np.cumsum(np.repeat(share, sizes)) / ranks
    return RiskCoverage(tuple((ranks / error.size).tolist()), tuple(risks.tolist()), float(risks.mean()))


def overlap(gold: str, other: str) -> tuple[int, int]:
    """Which characters of `gold` stand in `other`, where both were cut from one document: start, end exclusive.

    Two slices of a text overlap in one piece, at an end of each or in all of one, so the words are enough to find it.

    >>> overlap("for about $25", "matches RL for about")
    (0, 9)
    """
    if gold in other:
        return 0, len(gold)
    if other in gold:
        return gold.index(other), gold.index(other) + len(other)
    shorter = range(min(len(gold), len(other)) - 1, 0, -1)
    head = next((n for n in shorter if other.endswith(gold[:n])), 0)
    tail = next((n for n in shorter if other.startswith(gold[-n:])), 0)
    return (0, head) if head >= tail else (len(gold) - tail, len(gold))


def states(text: str, fact: str) -> bool:
    """Whether a text states a fact, or one of its alternatives separated by " | ", word for word.

    Case, white space, thousands commas, kinds of dash, and "percent" for "%" do not count; a number is there exactly,
    as a whole, with its sign and magnitude, or not at all.

    >>> states("It took 1,600 problems and 6 hours.", "1600 problems"), states("16, 6.5, 6% or 6 million", "6")
    (True, False)
    """
    plain = _plain(text)
    return any(_stands(plain, _plain(alternative)) for alternative in fact.split(" | "))


def _plain(text: str) -> str:
    text = re.sub(r"[\u2010-\u2013\u2212]", "-", re.sub(r"[\u2014\u2015]", " - ", text.casefold()))
    text = text.replace("\u2019", "'")
    text = re.sub(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\d,]*\d)", lambda match: match[0].replace(",", ""), text)
    text = re.sub(r"\bper ?cent\b", "%", re.sub(r"\s+", " ", text))
    return re.sub(r"(?<=\d) ?- ?%|(?<=\d) %", "%", text).strip()


def _stands(text: str, fact: str) -> bool:
    if not fact:
        return False
    # Between a number and its unit a space or a hyphen comes and goes: 32B, 32 B, 4-bit.
    pattern = re.sub(r"(?<=\d)(?:\\ |\\-)?(?=[^\W\d_])", "[ -]?", re.escape(fact))
    before, after, sign = "", "", r"(?<![^\d%]-)(?<!\A-)"
    if re.match(r"[\d.]", fact):  # not the rest of 16, 1.6, 1,6, 1/6, 10^6, 1e-6, GPT-6 or -6; in a range 3-6 it is
        before = r"(?<![\w./^:,])" + sign
    elif fact[0] in "$€£":
        before = sign
    elif re.match(r"[\w+-]", fact):
        before = r"(?<![\w^])"
    if fact[-1].isdigit():  # not the start of 6.5, 6,5, 6/7, 6:7, 6^2, 6%, 6 x 10, 6 million
        after = r"(?!\w|[.,/:]\d|\^|%| ?[×x*] ?10|[ -](?:hundred|thousand|million|billion|trillion)\b)"
    elif re.match(r"\w", fact[-1]):
        after = r"(?!\w)"
    return re.search(before + pattern + after, text) is not None


def score_answer(question: EvalQuestion, answer: Answer, quote_of: Callable[[Evidence], str]) -> dict[str, float]:
    """One question's share in each of ANSWER_MEASURES, in 0..1; a measure that it has no share in is left out.

    Citations are episodes that the evidence is attributed to. Recall asks every answerable question that has gold of
    the kind, and an abstention recalls nothing; precision asks those answered, and needs something cited or quoted.
    A gold quote is found if the evidence from its document covers at least half of its characters; evidence is right
    if it shares at least half of the shorter of the two with a gold quote. A sentence is unsupported if a quote of its
    evidence is not what `quote_of` (the slice of the document; may raise NotFound) says. Abstention precision asks the
    abstentions, recall the unanswerable questions, accuracy and answered_share all. Of several questions in one, lack
    recall asks those that the corpus does not answer, and finds them where that is said of them or of the whole; lack
    precision asks those of which it is said beside an answer.
    """
    row = {"answered_share": float(not answer.abstained)}
    row["abstention_accuracy"] = float(answer.abstained != question.answerable)
    if answer.abstained:
        row["abstention_precision"] = float(not question.answerable)
    else:
        row["unsupported_share"] = _mean(not _supported(sentence.evidence, quote_of) for sentence in answer.sentences)
    if not question.answerable:
        return row | {"abstention_recall": float(answer.abstained)}
    evidence = [item for sentence in answer.sentences for item in sentence.evidence]
    cited = {episode for item in evidence for episode in item.episodes}
    if question.episodes:
        row["citation_recall"] = _mean(episode in cited for episode in question.episodes)
    if cited:
        row["citation_precision"] = _mean(episode in question.episodes for episode in cited)
    if question.quotes:
        row["quote_recall"] = _mean(_found(document, quote, evidence) for document, quote in question.quotes)
        if evidence:
            row["quote_precision"] = _mean(_right(item, question.quotes) for item in evidence)
    if question.facts:
        text = " ".join(sentence.text for sentence in answer.sentences)
        row["fact_recall"] = _mean(states(text, fact) for fact in question.facts)
    told = [one.question for one in answer.unanswered]
    if question.lacks:
        row["lack_recall"] = _mean(answer.abstained or any(_alike(lack, t) for t in told) for lack in question.lacks)
    if told and not answer.abstained:
        row["lack_precision"] = _mean(any(_alike(lack, t) for lack in question.lacks) for t in told)
    return row


def answered_rightly(question: EvalQuestion, answer: Answer) -> bool:
    """Whether an answer would leave its reader well informed; what AURC counts as no error.

    The question is answerable and answered, at least half of its gold is cited, and at least half of what is cited is
    gold: episodes, or documents for a question whose gold names no episode. So an abstention is never right here,
    nor any answer to an unanswerable question; a confidence is good if it puts all of them last.
    """
    if answer.abstained or not question.answerable:
        return False
    evidence = [item for sentence in answer.sentences for item in sentence.evidence]
    if question.episodes:
        gold, cited = set(question.episodes), {episode for item in evidence for episode in item.episodes}
    else:
        gold, cited = {document for document, _ in question.quotes}, {item.document for item in evidence}
    right = len(gold & cited)
    return right > 0 and 2 * right >= len(gold) and 2 * right >= len(cited)


def _mean(values: Iterable[bool]) -> float:
    held = list(values)
    return sum(held) / len(held)


def _supported(evidence: Iterable[Evidence], quote_of: Callable[[Evidence], str]) -> bool:
    try:
        return all(quote_of(item) == item.quote for item in evidence)
    except NotFound:
        return False


def _found(document: str, quote: str, evidence: Iterable[Evidence]) -> bool:
    spans = [overlap(quote, item.quote) for item in evidence if item.document == document]
    return 2 * len({at for span in spans for at in range(*span)}) >= len(quote)


def _alike(one: str, other: str) -> bool:
    start, end = overlap(one, other)
    return 2 * (end - start) >= min(len(one), len(other))


def _right(item: Evidence, quotes: Iterable[tuple[str, str]]) -> bool:
    spans = ((quote, *overlap(quote, item.quote)) for document, quote in quotes if document == item.document)
    return any(2 * (end - start) >= min(len(quote), len(item.quote)) for quote, start, end in spans)
