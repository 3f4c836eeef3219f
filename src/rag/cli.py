"""The command line: ask, search, show, index, eval, serve. Thin over `assemble`; it prints what the records hold."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rag.errors import RagError, UserError

if TYPE_CHECKING:
    from rag.assemble import Service
    from rag.records import Answer, Filters, Ranking
    from rag.settings import Settings


class _Group(click.Group):
    """Errors are one line on stderr: 2 for wrong use, 1 for anything else."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line."""
        try:
            if sys.stdout is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), "stdout")
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="replace")  # an ASCII terminal shows "?" for what it lacks
            return super().main(*arguments, **options)
        except RagError as error:
            _say(f"rag: {error}")
            sys.exit(error.exit_code)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                what = error.strerror or f"reading or writing failed ({error}); is the disk full?"
                _say(f"rag: {error.filename}: {what}" if error.filename else f"rag: {what}")
            with suppress(AttributeError, io.UnsupportedOperation):  # at its end Python writes once more what is left
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file; rag.toml by default.")
@click.option("--index", type=click.Path(path_type=Path), help="Index folder; index/ by default.")
@click.version_option(package_name="podcast-rag")
@click.pass_context
def main(ctx: click.Context, config: Path | None, index: Path | None) -> None:
    """Ask a research podcast's reviews and episode summaries; every sentence comes with its source."""
    ctx.obj = {"config": config, "flags": {"index": index}}


def _settings(ctx: click.Context, **flags: Any) -> Settings:
    from rag.settings import read_settings

    names = {name.replace("__", "."): value for name, value in flags.items()}
    return read_settings(ctx.obj["config"], os.environ, ctx.obj["flags"] | names)


def _open(ctx: click.Context, **flags: Any) -> Service:
    from rag.assemble import open_service

    return open_service(_settings(ctx, **flags))


_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_k = click.option("-k", type=click.IntRange(1, 100), help="How many passages; search.k (10) by default.")
_retriever = click.option(
    "--retriever", type=click.Choice(["hybrid", "dense", "bm25", "rank-bm25"]), help="Which passages are found how."
)


def _filtered(command: Any) -> Any:
    for option in (
        click.option("--until", metavar="DATE", help="Only documents dated up to this day (2026-05-31)."),
        click.option("--since", metavar="DATE", help="Only documents dated from this day (2026-05-01)."),
        click.option("--episode", multiple=True, metavar="ID", help="Only what is attributed to this episode."),
        click.option("--topic", multiple=True, help="Only documents on this topic."),
        click.option("--kind", multiple=True, help="Only documents of this kind: episode, review, concept."),
    ):
        command = option(command)
    return command


def _filters(
    kind: tuple[str, ...], topic: tuple[str, ...], episode: tuple[str, ...], since: str | None, until: str | None
) -> Filters:
    from datetime import date

    from rag.records import Filters

    def iso(day: str | None) -> str | None:
        try:
            return day and date.fromisoformat(day).isoformat()
        except ValueError as error:
            raise UserError(f"{day!r} is no date ({error}); write it as 2026-05-31") from error

    return Filters(kinds=kind, topics=topic, episodes=episode, since=iso(since), until=iso(until))


def _print_json(value: object) -> None:
    encoding = (sys.stdout.encoding or "utf-8").lower()
    click.echo(json.dumps(value, ensure_ascii=not encoding.startswith("utf"), indent=2))


@main.command()
@click.argument("question", nargs=-1, required=True)
@_k
@_filtered
@_retriever
@_json
@click.pass_context
def ask(
    ctx: click.Context,
    /,
    question: tuple[str, ...],
    k: int | None,
    as_json: bool,
    retriever: str | None,
    **filters: Any,
) -> None:
    """Answer QUESTION from the corpus, with the quotes that the answer stands on."""
    from rag.wire import answer_json

    wanted = _filters(**filters)
    service = _open(ctx, search__retriever=retriever)
    answer = service.answerer.ask(" ".join(question), k or service.k, service.known(wanted))
    if as_json:
        _print_json(answer_json(answer))
    else:
        _show_answer(answer)


@main.command()
@click.argument("query", nargs=-1, required=True)
@_k
@click.option("--neighbours", type=click.IntRange(0, 5), default=0, help="Passages to show before and after each.")
@_filtered
@_retriever
@_json
@click.pass_context
def search(
    ctx: click.Context,
    /,
    query: tuple[str, ...],
    k: int | None,
    neighbours: int,
    as_json: bool,
    retriever: str | None,
    **filters: Any,
) -> None:
    """List the passages nearest to QUERY."""
    from rag.search.query import understand
    from rag.wire import search_json

    wanted = _filters(**filters)
    service = _open(ctx, search__retriever=retriever)
    question = understand(" ".join(query), service.library.episodes(), service.known(wanted))
    hits = service.retriever.retrieve(question, k or service.k)
    if as_json:
        _print_json(search_json(question.text, hits, service.library, neighbours))
    else:
        _show_hits(hits, service, neighbours)


@main.command()
@click.argument("name")
@_json
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show a document (reviews/NAME), or an episode (E026) with the sentences that cite it."""
    value = _find(_open(ctx), name)
    if as_json:
        _print_json(value)
        return
    console = _console()
    console.print(_line((value["title"], "bold"), "  ", (value["id"], "dim"), "\n"))
    console.print(_line(value["text"].strip()))
    citing = value.get("cited_by", [])
    if citing:
        console.print(_line(("\nCited by", "bold"), f" ({len(citing)} sentences)"))
    for row in citing:
        console.print(_line("  ", (f"{row['document']}:{row['start']}", "dim"), f"  {row['text']}"))


def _find(service: Service, name: str) -> dict[str, Any]:
    """A document by its ID, else an episode by its ID, else by a mention that is all of the name."""
    from rag.errors import NotFound
    from rag.search.query import named_episodes
    from rag.wire import document_json, episode_json

    library = service.library
    episode = service.episode(name)
    try:
        document = library.document(name)
        if episode is None or document.episode != episode:  # or its file is named by its ID
            return document_json(document, service.id_pattern)
    except NotFound:
        mentioned = () if episode or "/" in name else named_episodes(name, library.episodes())
        if len(mentioned) > 1:
            raise UserError(f"{name!r} names {' and '.join(mentioned)}; give one") from None
        if re.fullmatch(r"[^\W\d_]*[\s.#-]*\d+", name.strip()):
            episode = next((e for e in mentioned if e in library.episodes()), episode)
    if episode is None:
        raise NotFound(f"no document {name!r}; give an episode (E026) or a document (reviews/NAME)")
    return episode_json(library, episode, service.id_pattern)


@main.command("index")
@click.option("--corpus", type=click.Path(path_type=Path), help="Folder of documents; corpus/ by default.")
@click.option("--precision", type=click.Choice(["int8", "fp32"]), help="Of the encoder's weights.")
@click.option("--rebuild", is_flag=True, help="Build everything anew, the encoder too.")
@click.option("--skip-bad", is_flag=True, help="Report documents that cannot be read, and go on without them.")
@_json
@click.pass_context
def index_command(
    ctx: click.Context, corpus: Path | None, precision: str | None, rebuild: bool, skip_bad: bool, as_json: bool
) -> None:
    """Build the index; only what changed is encoded again."""
    from dataclasses import asdict

    from rag.assemble import build_index

    report = build_index(
        _settings(ctx, corpus=corpus, encoder__precision=precision),
        rebuild=rebuild,
        progress=_progress,
        say=_say,
        on_bad=(lambda error: _say(f"skipped {error}")) if skip_bad else None,
    )
    if as_json:
        _print_json(asdict(report))
    else:
        how = f"{report.reused} reused, {report.encoded} encoded" if report.changed else "up to date"
        _say(f"{report.documents} documents, {report.passages} passages ({how}) in {report.seconds:.1f} s")


@main.group("eval")
def eval_group() -> None:
    """Judge retrieval and answers."""


_run_out = click.option(
    "--run-out", type=click.Path(path_type=Path, dir_okay=False), help="Write a TREC run file here."
)


@eval_group.command("retrieval")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("evals"))
@click.option("--split", help="Which judgements (qrels/SPLIT.tsv) or questions: dev or test.")
@_retriever
@_run_out
@_json
@click.pass_context
def eval_retrieval(
    ctx: click.Context, /, folder: Path, split: str | None, retriever: str | None, run_out: Path | None, as_json: bool
) -> None:
    """Judge the ranking of FOLDER's questions: our evals/, or any collection in BEIR layout."""
    from rag.evals.evaluate import format_table
    from rag.evals.metrics import write_run
    from rag.judge import judge_retrieval

    settings = _settings(ctx, search__retriever=retriever)
    run, report = judge_retrieval(settings, folder, split, progress=_progress, say=_say)
    if run_out is not None:
        write_run(run_out, run)
    if as_json:
        _print_json(report.to_dict())
    else:
        click.echo(format_table(report))


@eval_group.command("answers")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("evals"))
@click.option("--split", help="Which questions: dev or test.")
@_retriever
@_json
@click.pass_context
def eval_answers(ctx: click.Context, /, folder: Path, split: str | None, retriever: str | None, as_json: bool) -> None:
    """Judge the answers to FOLDER's questions."""
    from rag.evals.evaluate import format_table
    from rag.judge import judge_answers

    report = judge_answers(_settings(ctx, search__retriever=retriever), folder, split, progress=_progress)
    if as_json:
        _print_json(report.to_dict())
    else:
        click.echo(format_table(report))


@main.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to bind; the default is this machine alone."
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.pass_context
def serve(ctx: click.Context, host: str, port: int) -> None:
    """Answer over HTTP; the API is described at /docs."""
    from rag.assemble import index_token, open_service
    from rag.serve.server import run

    settings = _settings(ctx)
    run(lambda: open_service(settings), lambda: index_token(settings), host, port)


def _say(text: str) -> None:
    """A line on stderr; what no line can show, such as a file name's line break, is written as Python would."""
    click.echo("".join(c if c.isprintable() else repr(c)[1:-1] for c in text), err=True)


def _progress(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    return track(
        items,
        total=total,
        description=what,
        console=Console(stderr=True),
        transient=True,
        disable=not (sys.stderr and sys.stderr.isatty()),
    )


def _console() -> Any:
    from rich.console import Console

    return Console(emoji=False, markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())


def _safe(text: str) -> str:
    """Text without control characters; white space of any other kind is a blank."""
    return "".join(c if c.isprintable() or c == "\n" else " " if c.isspace() else "" for c in text)


def _line(*parts: str | tuple[str, str]) -> Any:
    """Texts and (text, style) pairs in a row. Text of the corpus is data: it is never read as markup."""
    from rich.text import Text

    return Text.assemble(*((_safe(p), "") if isinstance(p, str) else (_safe(p[0]), p[1]) for p in parts))


def _indented(console: Any, line: Any, by: int) -> None:
    from rich.padding import Padding

    if console.is_terminal:
        console.print(Padding(line, (0, 0, 0, by)))
    else:  # whatever reads a pipe wants whole lines, not a screen's
        console.print(" " * by, line, sep="")


_HOW = {
    "explicit": "cites it",
    "inherited": "goes with a sentence that cites it",
    "document": "the episode's own summary",
    "none": "names no episode",
}


def _show_answer(answer: Answer) -> None:
    console = _console()
    if answer.abstained:
        console.print(_line(("The corpus does not say.", "bold"), " ", (answer.reason or "", "dim"), "\n"))
        console.print(_line(("Nearest passages:", "dim")))
        for hit in answer.hits[:3]:
            named = ", ".join(hit.passage.episodes) or hit.passage.title
            console.print(_line("  ", (named, "cyan"), f"  {' '.join(hit.passage.text.split())[:160]}…"))
        return
    parts: list[str | tuple[str, str]] = []
    for sentence in answer.sentences:
        named = ", ".join(sentence.citations) or sentence.evidence[0].title
        parts += [" "] * bool(parts) + [f"{sentence.text} ", (f"[{named}]", "bold cyan")]
    console.print(_line(*parts, "\n"))
    for number, sentence in enumerate(answer.sentences, start=1):
        for evidence in sentence.evidence:
            place = f"{evidence.document}:{evidence.start}-{evidence.end}"
            heading = f" › {evidence.heading}" if evidence.heading else ""
            title = evidence.title + heading
            console.print(_line((f"{number}.", "dim"), " ", (place, "cyan"), " ", (title, "dim")))
            quote = f"“{' '.join(evidence.quote.split())}” "
            _indented(console, _line(quote, (f"({_HOW[evidence.attribution]})", "dim")), 3)
    for citation in answer.citations:
        url = f"  {citation.url}" if citation.url else ""
        title = citation.title if citation.document else "(only mentioned: the corpus has no document about it)"
        console.print(_line((citation.episode, "bold cyan"), f" {title}", (url, "dim")))


def _show_hits(hits: Ranking, service: Service, neighbours: int) -> None:
    from rag.corpus.markers import plain

    console = _console()
    if not hits:
        console.print("Nothing found.")
    for hit in hits:
        named = ", ".join(hit.passage.episodes)
        place = f"{hit.passage.document}:{hit.passage.start}-{hit.passage.end}"
        score, by = f"{hit.rank:>2}. {hit.score:.3f}", "+".join(hit.found_by)
        console.print(_line((score, "dim"), " ", (place, "cyan"), " ", (named, "bold"), " ", (by, "dim")))
        around = service.library.neighbours(hit.passage, neighbours) if neighbours else ()
        for passage in sorted((hit.passage, *around), key=lambda p: p.start):
            text = plain(passage.text, service.id_pattern)
            _indented(console, _line((text, "" if passage is hit.passage else "dim")), 4)


def ask_main() -> None:
    """`ask …` is `rag ask …`."""
    main(["ask", *sys.argv[1:]], prog_name="rag")
