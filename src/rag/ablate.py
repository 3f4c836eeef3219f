"""Every variation asked every question, once; what was measured is kept for the next time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import structs, to_builtins

from rag.errors import UserError
from rag.settings import Settings, SplitSettings

if TYPE_CHECKING:
    from rag.evals.ablation import Variation
    from rag.evals.datasets import Collection, EvalQuestion
    from rag.evals.report import AnswerReport, Rows
    from rag.evals.results import Confidences, Results, Table
    from rag.index.encode import Progress
    from rag.index.store import Manifest

FOLDER = "ablation"
"""Below the index folder: the indexes of other splits by name, and what was measured in `results`."""
QUICK = 200
"""Queries of each collection that a quick run asks, the first of the file."""

_RETRIEVAL = ("corpus", "index", "search", "assemble.py", "evals/datasets.py", "evals/evaluate.py",
              "evals/metrics.py", "evals/trec.py")  # fmt: skip
_ANSWERS = (*_RETRIEVAL, "answer")


def varied(settings: Settings, sets: Mapping[str, Any]) -> Settings:
    """The settings with others by dotted names. What nobody set still follows from what is (`split.min_chars`)."""
    for name, value in sets.items():
        section, _, key = name.partition(".")
        inner = getattr(settings, section)
        follows = key == "max_chars" and inner.min_chars == SplitSettings(max_chars=inner.max_chars).min_chars
        changed = {key: value} | ({"min_chars": -1} if follows else {})
        settings = structs.replace(settings, **{section: structs.replace(inner, **changed)})
    return settings


def differing(settings: Settings, chosen: Sequence[Variation]) -> tuple[Variation, ...]:
    """The variations, without those that change nothing, but for the default, or the same as an earlier one."""
    seen: dict[Settings, Variation] = {}
    for variation in chosen:
        seen.setdefault(varied(settings, variation.sets), variation)
    return tuple(seen.values())


class Bench(Protocol):
    """What measures. `limit` takes that many of a collection's first queries."""

    def document_rows(self, settings: Settings, folder: Path, limit: int | None, what: str) -> Rows:
        """A collection's measures by query."""
        ...

    def own_rows(self, settings: Settings, folder: Path, variation: Variation, what: str) -> dict[str, Rows]:
        """Our own set's measures, by "episode" and "passage" and then by query."""
        ...

    def answers(self, settings: Settings, folder: Path, split: str) -> AnswerReport:
        """The report on the answers to a split of our own set."""
        ...

    def scores(self, settings: Settings, kind: str, path: Path) -> tuple[list[float], list[bool | None]]:
        """A file's scores by the "verifier", or of "answerability", and their labels."""
        ...


class RealBench:
    """Opens a collection once, and an index of our own set once a variation."""

    def __init__(self, progress: Progress, say: Callable[[str], None]) -> None:
        self._progress, self._say = progress, say
        self._open: tuple[tuple[Path, int | None], Collection, Path] | None = None

    def document_rows(self, settings: Settings, folder: Path, limit: int | None, what: str) -> Rows:
        """As Bench."""
        from rag.assemble import index_collection, open_service
        from rag.judge import judge_collection

        if self._open is None or self._open[0] != (folder, limit):
            whole = _load(folder)
            index = index_collection(settings, whole, self._named(folder.name), self._say).index
            self._open = ((folder, limit), _first(whole, limit), index)
        _, collection, index = self._open
        service = open_service(structs.replace(settings, index=index), distinct=False)
        return judge_collection(service, collection, progress=self._named(what)).report.rows

    def own_rows(self, settings: Settings, folder: Path, variation: Variation, what: str) -> dict[str, Rows]:
        """As Bench."""
        from rag.assemble import index_again, open_service
        from rag.judge import judge_retrieval

        if variation.own_index:
            service = open_service(settings)
            place = settings.index / FOLDER / re.sub(r"\W+", "-", variation.name)
            named = self._named(what)
            settings = index_again(settings, service.library, service.id_pattern, place, named, self._say)
        judged = judge_retrieval(settings, folder, None, progress=self._named(what), say=self._say)
        return {level: one.report.rows for level, one in judged.items()}

    def answers(self, settings: Settings, folder: Path, split: str) -> AnswerReport:
        """As Bench."""
        from rag.judge import judge_answers

        return judge_answers(settings, folder, split, progress=self._named(f"answers, {split}"))

    def scores(self, settings: Settings, kind: str, path: Path) -> tuple[list[float], list[bool | None]]:
        """As Bench."""
        from rag.judge import score_claims, score_pairs

        named = self._named(f"{kind}, {path.name}")
        if kind == "verifier":
            claims, scores = score_claims(settings, path, progress=named)
            return scores, [claim.label for claim in claims]
        pairs, scores = score_pairs(settings, path, progress=named)
        return scores, [pair.answerable for pair in pairs]

    def _named(self, what: str) -> Progress:
        return lambda items, total, doing: self._progress(items, total, f"{what}: {doing}")


@dataclass(frozen=True)
class Kept:
    """What was measured, a JSON file a digest of everything that it depends on. `fresh` reads none of them."""

    folder: Path
    fresh: bool = False

    def get(self, depends: Mapping[str, object], measure: Callable[[], Any]) -> Any:
        """The kept value, or the one that `measure` gives, which is kept."""
        text = json.dumps(depends, sort_keys=True, default=str)
        path = self.folder / f"{sha256(text.encode()).hexdigest()[:24]}.json"
        if not self.fresh:
            try:
                return json.loads(path.read_text(encoding="utf-8"))["value"]
            except (OSError, ValueError, KeyError):
                pass
        value = measure()
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"depends": depends, "value": value}, default=str), encoding="utf-8")
        temporary.replace(path)
        return json.loads(path.read_text(encoding="utf-8"))["value"]


@dataclass(frozen=True)
class Ablation:
    """One run: which settings are the default, on which folders, by which bench."""

    settings: Settings
    own: Path
    collections: Sequence[Path]
    bench: Bench
    kept: Kept
    quick: bool = False

    def results(self, verifier: Sequence[Path] = (), answerability: Sequence[Path] = ()) -> Results:
        """Everything measured or read back, and put in order. Raises UserError and IndexUnusable."""
        from rag.evals.ablation import variations
        from rag.evals.datasets import load_questions
        from rag.evals.results import Results, answers

        for path in (*verifier, *answerability):
            if not path.is_file():
                raise UserError(f"{path}: no such file")
        manifest, questions = self._manifest, load_questions(self.own)
        splits = [split for split in ("dev", "test") if any(q.split == split for q in questions)]
        ours = differing(self.settings, variations(own=True, quick=self.quick))
        tables = self._own_tables(ours, questions, splits)
        for folder in self.collections:
            tables.append(self._collection_table(folder))
        answered = tuple(answers(split, self._answers(split, questions), questions) for split in splits)
        confidences = [self._confidences("verifier", path) for path in verifier]
        confidences += [self._confidences("answerability", path) for path in answerability]
        return Results(
            version=version("podcast-rag"),
            default=described(self.settings),
            documents=manifest.documents,
            passages=manifest.passages,
            encoder=f"{manifest.encoder.name} ({manifest.encoder.precision})",
            sets={v.name: ", ".join(f"{name} = {json.dumps(value)}" for name, value in v.sets.items()) for v in ours},
            tables=tuple(tables),
            answers=answered,
            confidences=tuple(confidences),
            fitted=_fitted(),
            quick=self.quick,
        )

    def _own_tables(
        self, chosen: Sequence[Variation], questions: Sequence[EvalQuestion], splits: Sequence[str]
    ) -> list[Table]:
        from rag.evals.results import tabulate

        found: dict[str, dict[str, Rows]] = {}
        for number, variation in enumerate(chosen, 1):
            settings = varied(self.settings, variation.sets)
            what = f"{self.own.name}, {variation.name} ({number} of {len(chosen)})"
            depends = self._depends(_RETRIEVAL, settings, questions=_digest(questions))

            def measure(settings: Settings = settings, variation: Variation = variation, what: str = what) -> object:
                return self.bench.own_rows(settings, self.own, variation, what)

            found[variation.name] = self.kept.get(depends, measure)
        return [
            tabulate(
                self.own.name,
                level,
                split,
                {
                    name: {q.id: levels[level][q.id] for q in questions if q.split == split and q.id in levels[level]}
                    for name, levels in found.items()
                },
            )
            for split in splits
            for level in ("episode", "passage")
        ]

    def _collection_table(self, folder: Path) -> Table:
        from rag.evals.ablation import variations
        from rag.evals.results import tabulate

        chosen = differing(self.settings, variations(own=False))
        limit = QUICK if self.quick else None
        files = _files(folder)
        found: dict[str, Rows] = {}
        for number, variation in enumerate(chosen, 1):
            settings = varied(self.settings, variation.sets)
            what = f"{folder.name}, {variation.name} ({number} of {len(chosen)})"
            depends = self._depends(_RETRIEVAL, settings, collection=files, limit=limit)
            depends = {**depends, "split": None, "index": self._manifest.encoder.digest}

            def measure(settings: Settings = settings, what: str = what) -> object:
                return self.bench.document_rows(settings, folder, limit, what)

            found[variation.name] = self.kept.get(depends, measure)
        return tabulate(folder.resolve().name, "document", _split(folder), found)

    def _answers(self, split: str, questions: Sequence[EvalQuestion]) -> AnswerReport:
        from rag.evals.report import AnswerReport, Estimate

        held = [question for question in questions if question.split == split]
        depends = self._depends(_ANSWERS, self.settings, answers=_digest(held))
        value = self.kept.get(depends, lambda: self.bench.answers(self.settings, self.own, split).to_dict())
        value = {name: of for name, of in value.items() if name != "kind"}
        value["measures"] = {name: Estimate(**of) for name, of in value["measures"].items()}
        value |= {name: Estimate(**value[name]) for name in ("auroc", "aurc") if name in value}
        return AnswerReport(**value)

    def _confidences(self, kind: str, path: Path) -> Confidences:
        from rag.evals.results import confidences

        depends = self._depends(_ANSWERS, self.settings, kind=kind, file=_sha256(path))
        scores, labels = self.kept.get(depends, lambda: self.bench.scores(self.settings, kind, path))
        return confidences(kind, f"{path.resolve().parent.name}/{path.name}", scores, labels, _fitted())

    @cached_property
    def _manifest(self) -> Manifest:
        from rag.index.store import IndexFolder

        _, manifest = IndexFolder(self.settings.index).current()
        split = self.settings.split
        found = (manifest.max_chars, manifest.min_chars, manifest.titled)
        if found != (split.max_chars, split.min_chars, split.titled):
            raise UserError(
                f"{self.settings.index} was built with another split than the settings say; run `rag index`"
            )
        return manifest

    def _depends(self, rooms: tuple[str, ...], settings: Settings, **more: object) -> dict[str, object]:
        index = {k: v for k, v in asdict(self._manifest).items() if k not in ("generation", "files")}
        values = {k: v for k, v in to_builtins(settings, enc_hook=str).items() if k not in ("corpus", "index")}
        return {"version": version("podcast-rag"), "code": _code(rooms), "index": index, **values, **more}


def described(settings: Settings) -> str:
    """What the default is, in words.

    >>> described(Settings())
    'hybrid, weighted fusion, ...passages of at most 600 characters, titled'
    """
    search, split = settings.search, settings.split
    parts: list[str] = [search.retriever]
    if search.retriever == "hybrid":
        parts.append(f"{search.fusion} fusion")
        if search.fusion == "weighted":
            parts += [f"sparse weight {search.sparse_weight:g}", f"sentence weight {search.sentence_weight:g}"]
        if search.fusion == "convex":
            parts.append(f"dense weight {search.dense_weight:g}")
        parts.append(f"feedback {search.feedback:g}" if search.feedback else "no feedback")
    parts.append(f"neighbours {search.neighbours:g}" if search.neighbours else "no neighbours")
    size = f"passages of at most {split.max_chars} characters"
    return ", ".join([*parts, size, "titled" if split.titled else "not titled"])


def _load(folder: Path) -> Collection:
    from rag.evals.datasets import load_beir

    return load_beir(folder)


def _first(collection: Collection, limit: int | None) -> Collection:
    ids = list(collection.queries)[:limit]
    return replace(
        collection,
        queries={id: collection.queries[id] for id in ids},
        qrels={id: collection.qrels[id] for id in ids},
    )


def _split(folder: Path) -> str:
    from rag.evals.datasets import choose_split

    return choose_split(folder, None)


def _files(folder: Path) -> list[str]:
    names = ("corpus.jsonl", "queries.jsonl", f"qrels/{_split(folder)}.tsv")
    return [_sha256(folder / name) for name in names]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'cannot be read'}") from None


def _digest(questions: Sequence[EvalQuestion]) -> str:
    return sha256(json.dumps([asdict(question) for question in questions], sort_keys=True).encode()).hexdigest()


@cache
def _fitted() -> tuple[str, ...]:
    """What the weights beside `rag.answer` were fitted on, each once."""
    files = sorted((Path(__file__).parent / "answer").glob("*.json"))
    models = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return tuple(dict.fromkeys(model["fitted_on"] for model in models if model.get("fitted_on")))


@cache
def _code(rooms: tuple[str, ...]) -> str:
    """Of the files that make the numbers, so that work on them shows; as they were when first asked for."""
    here, digest = Path(__file__).parent, sha256()
    for room in rooms:
        files = [here / room] if room.endswith(".py") else sorted((here / room).rglob("*.*"))
        for file in files:
            if file.suffix in (".py", ".json"):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
