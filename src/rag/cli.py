"""The command line: ask, search, show, index, eval, serve. Thin over `assemble`; it prints what the records hold."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
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

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RagError as error:
            click.echo(f"rag: {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file; rag.toml by default.")
@click.option("--index", type=click.Path(path_type=Path, file_okay=False), help="Index folder; index/ by default.")
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
_k = click.option("-k", type=click.IntRange(1, 100), default=10, show_default=True, help="How many passages.")
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

    for day in (since, until):
        try:
            if day is not None:
                date.fromisoformat(day)
        except ValueError as error:
            raise UserError(f"{day!r} is no date ({error}); write it as 2026-05-31") from error
    return Filters(kinds=kind, topics=topic, episodes=tuple(e.upper() for e in episode), since=since, until=until)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


@main.command()
@click.argument("question", nargs=-1, required=True)
@_k
@_filtered
@_retriever
@_json
@click.pass_context
def ask(
    ctx: click.Context, /, question: tuple[str, ...], k: int, as_json: bool, retriever: str | None, **filters: Any
) -> None:
    """Answer QUESTION from the corpus, with the quotes that the answer stands on."""
    from rag.wire import answer_json

    answer = _open(ctx, search__retriever=retriever).answerer.ask(" ".join(question), k, _filters(**filters))
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
    k: int,
    neighbours: int,
    as_json: bool,
    retriever: str | None,
    **filters: Any,
) -> None:
    """List the passages nearest to QUERY."""
    from rag.search.query import understand
    from rag.wire import search_json

    service = _open(ctx, search__retriever=retriever)
    question = understand(" ".join(query), service.library.episodes(), _filters(**filters))
    hits = service.retriever.retrieve(question, k)
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
    from rag.errors import NotFound
    from rag.search.query import named_episodes
    from rag.wire import document_json, episode_json

    service = _open(ctx)
    library = service.library
    episode = next((e for e in named_episodes(name, library.episodes()) if e in library.episodes()), None)
    if episode and "/" not in name:
        value = episode_json(library, episode, service.id_pattern)
    else:
        try:
            value = document_json(library.document(name), service.id_pattern)
        except NotFound as error:
            raise NotFound(f"no document {name!r}; give an episode (E026) or a document (reviews/NAME)") from error
    if as_json:
        _print_json(value)
        return
    console = _console()
    console.print(f"[bold]{_safe(value['title'])}[/]  [dim]{_safe(value['id'])}[/]\n")
    console.print(_safe(value["text"].strip()))
    citing = value.get("cited_by", [])
    if citing:
        console.print(f"\n[bold]Cited by[/] ({len(citing)} sentences)")
    for row in citing:
        console.print(f"  [dim]{_safe(row['document'])}:{row['start']}[/]  {_safe(row['text'])}")


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
    from rag.assemble import judge_retrieval
    from rag.evals.evaluate import format_table
    from rag.evals.metrics import write_run

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
    from rag.assemble import judge_answers
    from rag.evals.evaluate import format_table

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
    from rag.assemble import open_service
    from rag.serve.server import run

    settings = _settings(ctx)
    run(lambda: open_service(settings), host, port)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _progress(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    return track(
        items,
        total=total,
        description=what,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def _safe(text: str) -> str:
    """Text of the corpus is data: no markup of ours, no control characters of its own."""
    from rich.markup import escape

    return escape("".join(c for c in text if c.isprintable() or c == "\n"))


def _indented(console: Any, markup: str, by: int) -> None:
    from rich.padding import Padding

    if console.is_terminal:
        console.print(Padding(markup, (0, 0, 0, by)))
    else:  # whatever reads a pipe wants whole lines, not a screen's
        console.print(" " * by + markup)


_HOW = {
    "explicit": "cites it",
    "inherited": "goes with a sentence that cites it",
    "document": "the episode's own summary",
    "none": "names no episode",
}


def _show_answer(answer: Answer) -> None:
    console = _console()
    if answer.abstained:
        console.print(f"[bold]The corpus does not say.[/] [dim]{_safe(answer.reason or '')}[/]\n")
        console.print("[dim]Nearest passages:[/]")
        for hit in answer.hits[:3]:
            named = ", ".join(hit.passage.episodes) or hit.passage.title
            console.print(f"  [cyan]{_safe(named)}[/]  {_safe(' '.join(hit.passage.text.split())[:160])}…")
        return
    parts = []
    for sentence in answer.sentences:
        named = ", ".join(sentence.citations) or sentence.evidence[0].title
        parts.append(f"{_safe(sentence.text)} [bold cyan]{_safe(f'[{named}]')}[/]")
    console.print(" ".join(parts) + "\n")
    for number, sentence in enumerate(answer.sentences, start=1):
        for evidence in sentence.evidence:
            place = f"{evidence.document}:{evidence.start}-{evidence.end}"
            heading = f" › {evidence.heading}" if evidence.heading else ""
            console.print(f"[dim]{number}.[/] [cyan]{_safe(place)}[/] [dim]{_safe(evidence.title + heading)}[/]")
            quote = f"“{_safe(' '.join(evidence.quote.split()))}” [dim]({_HOW[evidence.attribution]})[/]"
            _indented(console, quote, 3)
    for citation in answer.citations:
        url = f"  {citation.url}" if citation.url else ""
        title = citation.title if citation.document else "(only mentioned: the corpus has no document about it)"
        console.print(f"[bold cyan]{_safe(citation.episode)}[/] {_safe(title)}[dim]{_safe(url)}[/]")


def _show_hits(hits: Ranking, service: Service, neighbours: int) -> None:
    from rag.corpus.markers import plain

    console = _console()
    if not hits:
        console.print("Nothing found.")
    for hit in hits:
        named = ", ".join(hit.passage.episodes)
        place = f"{hit.passage.document}:{hit.passage.start}-{hit.passage.end}"
        console.print(
            f"[dim]{hit.rank:>2}. {hit.score:.3f}[/] [cyan]{_safe(place)}[/] [bold]{_safe(named)}[/] "
            f"[dim]{'+'.join(hit.found_by)}[/]"
        )
        around = service.library.neighbours(hit.passage, neighbours) if neighbours else ()
        for passage in sorted((hit.passage, *around), key=lambda p: p.start):
            text = _safe(plain(passage.text, service.id_pattern))
            _indented(console, text if passage is hit.passage else f"[dim]{text}[/]", 4)


def ask_main() -> None:
    """`ask …` is `rag ask …`."""
    main(["ask", *sys.argv[1:]], prog_name="rag")
