"""Judged questions: our own (`evals/questions.jsonl`), and any folder in BEIR layout."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import UserError
from rag.records import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Qrels = dict[str, dict[str, int]]
"""Query id -> document id -> grade; 0 and below is judged and not relevant. In the order of the file."""

_TURN = {"question", "answer"}
_REQUIRED = {"id", "question", "type", "split"}
_OPTIONAL = {"episodes", "quotes", "facts", "history", "lacks"}


class DatasetError(UserError):
    """Judgements or a run file cannot be read; the message starts with `FILE:LINE: `, or `FILE: ` for a whole file."""

    def __init__(self, path: Path, line: int | None, found: str, wanted: str) -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {found}; {wanted}")
        self.path, self.line = path, line


@dataclass(frozen=True, slots=True)
class EvalQuestion:
    """A question with its gold: what a full and well founded answer cites, quotes and states.

    `episodes` are IDs as the corpus writes them; `quotes` are (document, quote) pairs, each quote verbatim in the
    document; an entry of `facts` lists alternatives separated by " | ". `split` is "dev" or "test". A `type` may have a
    kind behind a slash: "unanswerable/premise". `history` is the conversation that the question comes after.
    `lacks` are the words of those of several questions in one that the corpus does not answer.
    """

    id: str
    text: str
    type: str
    episodes: tuple[str, ...] = ()
    quotes: tuple[tuple[str, str], ...] = ()
    facts: tuple[str, ...] = ()
    split: str = "dev"
    history: tuple[Turn, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def answerable(self) -> bool:
        """False where the right answer is that the corpus does not say."""
        return self.type.partition("/")[0] != "unanswerable"


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents, queries and judgements from elsewhere.

    `documents` are (id, title, text), the title "" where there is none. Every judged query has a text in `queries`,
    and no other is there; a judged document may be missing from `documents`, and then is never found.
    """

    name: str
    documents: tuple[tuple[str, str, str], ...]
    queries: dict[str, str]
    qrels: Qrels
    split: str = "test"


def load_questions(path: str | Path) -> tuple[EvalQuestion, ...]:
    """The questions of a JSON Lines file, or of `questions.jsonl` in a folder, in order. Raises DatasetError."""
    path = Path(path)
    path = path / "questions.jsonl" if path.is_dir() else path
    out: dict[str, EvalQuestion] = {}
    for line, row in _json_lines(path):
        question = _question(path, line, row)
        if question.id in out:
            raise DatasetError(path, line, f"the id {question.id!r} is taken", "every question has an id of its own")
        out[question.id] = question
    if not out:
        raise DatasetError(path, None, "no questions", "wanted one JSON object a line")
    return tuple(out.values())


def load_beir(folder: str | Path, split: str | None = None) -> Collection:
    """A BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/SPLIT.tsv` with a header line. Raises DatasetError.

    Without a split it takes "test", or the only one there is; otherwise the error lists the splits to choose from.
    Layout: https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset
    """
    folder = Path(folder)
    split = choose_split(folder, split)
    qrels = read_beir_qrels(folder / "qrels" / f"{split}.tsv")
    documents = tuple(_beir_rows(folder / "corpus.jsonl"))
    if not any((text or title).strip() for _, title, text in documents):
        raise DatasetError(folder / "corpus.jsonl", None, "no document has a text", "wanted one at least")
    texts = {id: text for id, _, text in _beir_rows(folder / "queries.jsonl")}
    missing = [id for id in qrels if id not in texts]
    if missing:
        found = f"no query {missing[0]!r}, one of {len(missing)} that {split}.tsv judges"
        raise DatasetError(folder / "queries.jsonl", None, found, "every judged query needs its text")
    return Collection(folder.resolve().name, documents, {id: texts[id] for id in qrels}, qrels, split)


def _question(path: Path, line: int, row: Mapping[str, object]) -> EvalQuestion:
    def strings(key: str) -> tuple[str, ...]:
        values = row.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
            raise DatasetError(path, line, f"{key!r} is {values!r}", "wanted a list of strings, none of them empty")
        return tuple(values)

    wrong = sorted(_REQUIRED - row.keys()) or sorted(row.keys() - _REQUIRED - _OPTIONAL)
    if wrong:
        found = f"{'unknown' if wrong[0] in row else 'missing'} key {wrong[0]!r}"
        raise DatasetError(path, line, found, f"wanted {sorted(_REQUIRED)} and, if any, {sorted(_OPTIONAL)}")
    id, text, kind, split = (_text(path, line, row, key) for key in ("id", "question", "type", "split"))
    if split not in ("dev", "test"):
        raise DatasetError(path, line, f"'split' is {split!r}", 'wanted "dev" or "test"')
    quotes = row.get("quotes", [])
    if not isinstance(quotes, list) or not all(isinstance(q, dict) and set(q) == {"document", "quote"} for q in quotes):
        raise DatasetError(path, line, f"'quotes' is {quotes!r}", 'wanted a list of {"document": …, "quote": …}')
    pairs = tuple((_text(path, line, q, "document"), _text(path, line, q, "quote")) for q in quotes)
    history = row.get("history", [])
    if not isinstance(history, list) or any(not isinstance(t, dict) or set(t) != _TURN for t in history):
        raise DatasetError(path, line, f"'history' is {history!r:.80}", 'wanted a list of {"question": …, "answer": …}')
    turns = tuple(Turn(_text(path, line, t, "question"), _text(path, line, t, "answer", "")) for t in history)
    question = EvalQuestion(
        id, text, kind, strings("episodes"), pairs, strings("facts"), split, turns, strings("lacks")
    )
    if question.answerable and not (question.quotes or question.episodes):
        raise DatasetError(path, line, f"{id!r} has no gold", 'wanted quotes or episodes, or the type "unanswerable"')
    absent = [words for words in question.lacks if words not in text]
    if absent:
        raise DatasetError(
            path, line, f"'lacks' has {absent[0]!r}", "wanted words of the question, as they stand there"
        )
    if not question.answerable and (question.quotes or question.facts):
        raise DatasetError(path, line, f"{id!r} is unanswerable", "then it has no quotes and no facts")
    return question


def _text(path: Path, line: int, row: Mapping[str, object], key: str, default: str | None = None) -> str:
    """A string that is not blank; where there is a default, absent, null and blank are the default."""
    value = row.get(key)
    if default is not None and value in (None, ""):
        return default
    if not isinstance(value, str) or (not value.strip() and default is None):
        raise DatasetError(path, line, f"{key!r} is {value!r}", "wanted a string")
    return value


def choose_split(folder: Path, split: str | None) -> str:
    """The split that `load_beir` takes of a folder. Raises DatasetError."""
    splits = sorted(file.stem for file in (folder / "qrels").glob("*.tsv"))
    if not splits:
        raise DatasetError(folder, None, "no qrels/*.tsv here", "wanted a folder in BEIR layout")
    chosen = split or ("test" if "test" in splits else splits[0])
    if chosen not in splits:
        raise DatasetError(folder, None, f"no split {chosen!r}", f"there is {', '.join(splits)}")
    if split is None and chosen != "test" and len(splits) > 1:
        raise DatasetError(folder, None, "several splits and none is named 'test'", f"choose of {', '.join(splits)}")
    return chosen


def read_beir_qrels(path: Path) -> Qrels:
    """The judgements of a BEIR file: query, document, grade, separated by tabs, below a header. Raises DatasetError."""
    wanted = "wanted query-id, corpus-id and a small whole number, separated by tabs, below a header line"
    out: Qrels = {}
    header = False
    for line, text in read_lines(path):
        cells = [cell.strip() for cell in text.split("\t")]
        if not header:
            if len(cells) != 3 or cells[2].lstrip("-").isdecimal():
                raise DatasetError(path, line, f"no header in {text[:60]!r}", wanted)
            header = True
            continue
        if len(cells) != 3 or not all(cells) or not is_grade(cells[2]):
            raise DatasetError(path, line, f"{text[:60]!r}", wanted)
        query, document, grade = cells[0], cells[1], int(cells[2])
        if out.setdefault(query, {}).setdefault(document, grade) != grade:
            raise DatasetError(path, line, f"{query!r} and {document!r} are judged twice", "keep one of the grades")
    if not out:
        raise DatasetError(path, None, "no judgements", wanted)
    return out


def is_grade(text: str) -> bool:
    """Whether this is a grade: a whole number of at most 6 digits; trec_eval takes 8 GB of memory for one of 9."""
    return re.fullmatch(r"-?[0-9]{1,6}", text) is not None


def _beir_rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """(id, title, text) of every line; the title is "" where there is none."""
    seen = set()
    for line, row in _json_lines(path):
        id, text = row.get("_id"), row.get("text")
        if isinstance(id, bool) or not isinstance(id, str | int) or not str(id).strip():
            raise DatasetError(path, line, f"'_id' is {id!r}", "wanted a string")
        if str(id) in seen:
            raise DatasetError(path, line, f"the _id {id!r} is taken", "every line has its own")
        if not isinstance(text, str):
            raise DatasetError(path, line, f"'text' is {text!r:.60}", "wanted a string")
        seen.add(str(id))
        yield str(id), _text(path, line, row, "title", ""), text


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no number")


def _whole(row: object) -> bool:
    """Whether every string in it can be written as UTF-8."""
    return not any("\ud800" <= c <= "\udfff" for c in json.dumps(row, ensure_ascii=False))


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for line, text in read_lines(path):
        try:
            row = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            found = error.msg if isinstance(error, json.JSONDecodeError) else " ".join(str(error).split())[:60]
            raise DatasetError(path, line, f"not JSON ({found})", "wanted one JSON object a line") from None
        if "\\ud" in text.casefold() and not _whole(row):
            raise DatasetError(path, line, "half a surrogate pair", "wanted whole characters") from None
        if not isinstance(row, dict):
            raise DatasetError(path, line, f"{text[:60]!r}", "wanted a JSON object")
        yield line, row


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, numbered from 1. They end at line feeds alone: JSON strings may hold U+2028."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise DatasetError(path, number, f"not UTF-8 ({error.reason})", "save it as UTF-8") from None
                if text.strip():
                    yield number, text
    except OSError as error:
        raise DatasetError(path, None, error.strerror or "cannot be read", "wanted a readable file") from None
