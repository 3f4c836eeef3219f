"""What a run, and what an answer, is worth. Pure arithmetic; every measure is a mean of one value a question."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import NotFound, UserError
from rag.evals.datasets import DatasetError, EvalQuestion, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rag.records import Answer, Evidence

Run = dict[str, dict[str, float]]
"""Query id -> id of what was found -> score, higher is better; best first where this project wrote it."""

RETRIEVAL_MEASURES = ("nDCG@10", "R@5", "R@20", "R@100", "RR", "Success@1")

ANSWER_MEASURES = (
    "citation_precision", "citation_recall", "quote_precision", "quote_recall", "fact_recall", "unsupported_share",
    "abstention_precision", "abstention_recall", "abstention_accuracy", "answered_share",
)  # fmt: skip


def score_run(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = RETRIEVAL_MEASURES,
) -> dict[str, dict[str, float]]:
    """Measure -> query -> value, for every judged query, by ir-measures; names come back in its own spelling.

    A judged query that the run misses, or for which it found nothing, scores 0; one without judgements is left out.
    Scores rank, as trec_eval has it: compared as float32, ties by id from z to a. Raises UserError on a measure.

    >>> score_run({"q1": {"a": 0.9, "b": 0.8}}, {"q1": {"b": 1}, "q2": {"c": 1}}, ["RR", "Success@1"])
    {'RR': {'q1': 0.5, 'q2': 0.0}, 'Success@1': {'q1': 0.0, 'q2': 0.0}}
    """
    import ir_measures

    wanted = "wanted names as ir-measures writes them, such as nDCG@10, R@100, RR"
    parsed = {}
    for name in measures:
        try:
            parsed[name] = ir_measures.parse_measure(name)
        except (NameError, ValueError) as error:
            raise UserError(f"unknown measure {name!r} ({error}); {wanted}") from None
    out = {str(measure): dict.fromkeys(qrels, 0.0) for measure in parsed.values()}
    found = {query: {id: float(score) for id, score in run[query].items()} for query in qrels if run.get(query)}
    judged = {query: dict(grades) for query, grades in qrels.items() if query in found and grades}
    if not judged:
        return out
    try:
        for value in ir_measures.iter_calc(list(parsed.values()), judged, found):
            out[str(value.measure)][value.query_id] = float(value.value)
    except (AssertionError, ValueError) as error:
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
    abstentions, recall the unanswerable questions, accuracy and answered_share all.
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
    return row


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


def _right(item: Evidence, quotes: Iterable[tuple[str, str]]) -> bool:
    spans = ((quote, *overlap(quote, item.quote)) for document, quote in quotes if document == item.document)
    return any(2 * (end - start) >= min(len(quote), len(item.quote)) for quote, start, end in spans)


def untied(scored: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The same order, best first, in scores that fall as float32: trec_eval reads no finer and breaks ties by id.

    >>> list(untied([("a", 1.0), ("b", 1.0), ("c", 0.5)]).values())
    [1.0, 0.9999999403953552, 0.5]
    """
    import numpy as np

    out: dict[str, float] = {}
    last, below = np.float32(np.inf), np.float32(-np.inf)
    with np.errstate(over="ignore"):
        for id, score in scored:
            last = min(np.float32(score), np.nextafter(last, below))
            if not np.isfinite(last):
                raise ValueError(f"{id!r} has the score {score}, which does not rank")
            out[id] = float(last)
    return out


def write_run(path: str | Path, run: Mapping[str, Mapping[str, float]], tag: str = "rag", depth: int = 100) -> None:
    """A TREC run file: `query Q0 id rank score tag`, `depth` lines a query, ranks from 1; tied scores keep their order.

    A query without results has no line. Raises UserError on an id with white space, which the format cannot carry.
    """
    lines = []
    for query, found in run.items():
        ranked = untied(sorted(found.items(), key=lambda item: -item[1])[:depth])
        for rank, (id, score) in enumerate(ranked.items(), 1):
            bad = [name for name in (query, id, tag) if len(name.split()) != 1 or name != name.strip()]
            if bad:
                raise UserError(f"{bad[0]!r} cannot stand in a TREC run file; wanted a name without white space")
            lines.append(f"{query} Q0 {id} {rank} {score:.9g} {tag}\n")
    Path(path).write_text("".join(lines), encoding="utf-8", newline="\n")


def read_run(path: str | Path) -> Run:
    """The results of a TREC run file by falling score, ties in the order of the file. Raises DatasetError."""
    path = Path(path)
    rows: Run = {}
    for line, text in read_lines(path):
        cells = text.split()
        try:
            query, _, id, _, score, _ = cells
            value = float(score)
        except ValueError:
            raise DatasetError(path, line, f"{text[:60]!r}", "wanted `query Q0 id rank score tag`") from None
        if value != value or id in rows.setdefault(query, {}):
            found = f"{query!r} has {id!r} twice, or without a number for a score"
            raise DatasetError(path, line, found, "wanted each once, with a number")
        rows[query][id] = value
    return {query: dict(sorted(found.items(), key=lambda item: -item[1])) for query, found in rows.items()}
