"""The command line. Thin over `assemble`; it prints what the records hold."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rag.cli_eval import eval_group
from rag.errors import RagError, UserError
from rag.terminal import (
    ENGINES,
    console,
    engine_option,
    generator_option,
    json_option,
    one_line,
    print_json,
    progress,
    retriever_option,
    say,
    settings,
    until_stopped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from rag.assemble import Service
    from rag.records import Answer, AnswerSentence, Draft, Event, Filters, Ranking


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
            say(f"rag: {error}")
            sys.exit(error.exit_code)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                what = error.strerror or f"reading or writing failed ({error}); is the disk full?"
                say(f"rag: {error.filename}: {what}" if error.filename else f"rag: {what}")
            with suppress(AttributeError, io.UnsupportedOperation):  # at its end Python writes once more what is left
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file; rag.toml by default.")
@click.option("--index", type=click.Path(path_type=Path), help="Index folder; index/ by default.")
@click.option("--engine", type=ENGINES, help="What keeps the index, for commands without this option.")
@click.version_option(package_name="podcast-rag")
@click.pass_context
def main(ctx: click.Context, config: Path | None, index: Path | None, engine: str | None) -> None:
    """Ask a research podcast's reviews and episode summaries; every sentence comes with its source."""
    ctx.obj = {"config": config, "flags": {"index": index, "engine": engine}}


def _open(ctx: click.Context, *, drafting: bool = False, **flags: Any) -> Service:
    from rag.assemble import open_generator, open_service

    chosen = settings(ctx, **flags)
    wanted = drafting and chosen.generator == "llm"
    return open_service(chosen, generator=open_generator(chosen) if wanted else None)


_k = click.option("-k", type=click.IntRange(1, 100), help="How many passages; search.k (10) by default.")


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


@main.command()
@click.argument("question", nargs=-1, required=True)
@_k
@_filtered
@engine_option
@retriever_option
@generator_option
@json_option
@click.pass_context
def ask(
    ctx: click.Context,
    /,
    question: tuple[str, ...],
    k: int | None,
    as_json: bool,
    retriever: str | None,
    generator: str | None,
    **filters: Any,
) -> None:
    """Answer QUESTION from the corpus, with the quotes that the answer stands on."""
    from rag.wire import answer_json

    wanted = _filters(**filters)
    service = _open(ctx, drafting=True, search__retriever=retriever, generator=generator)
    drafter = service.drafter()
    known = service.known(wanted)
    if as_json:
        print_json(answer_json(service.answerer.ask(" ".join(question), k or service.k, known, generator=drafter)))
    else:
        events = service.answerer.stream(" ".join(question), k or service.k, known, generator=drafter)
        _show_answer(events, drafter.name if drafter else None)


@main.command()
@click.argument("query", nargs=-1, required=True)
@_k
@click.option("--neighbours", type=click.IntRange(0, 5), default=0, help="Passages to show before and after each.")
@_filtered
@engine_option
@retriever_option
@json_option
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
        print_json(search_json(question.text, hits, service.library, neighbours))
    else:
        _show_hits(hits, service, neighbours)


@main.command()
@click.argument("name")
@engine_option
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show a document (reviews/NAME), or an episode (E026) with the sentences that cite it."""
    from rag.wire import document_json, episode_json

    service = _open(ctx)
    found = service.find(name)
    if isinstance(found, str):
        value = episode_json(service.library, found, service.id_pattern)
    else:
        value = document_json(found, service.id_pattern)
    if as_json:
        print_json(value)
        return
    out = console()
    out.print(_line((value["title"], "bold"), "  ", (value["id"], "dim"), "\n"))
    out.print(_line(value["text"].strip()))
    citing = value.get("cited_by", [])
    if citing:
        out.print(_line(("\nCited by", "bold"), f" ({len(citing)} sentences)"))
    for row in citing:
        out.print(_line("  ", (f"{row['document']}:{row['start']}", "dim"), f"  {row['text']}"))


@main.command("index")
@engine_option
@click.option("--corpus", type=click.Path(path_type=Path), help="Folder of documents; corpus/ by default.")
@click.option("--precision", type=click.Choice(["int8", "fp32"]), help="Of the encoder's weights.")
@click.option("--ray", metavar="ADDRESS", help="Encode on this machine's Ray cluster: auto or HOST:PORT.")
@click.option("--rebuild", is_flag=True, help="Build everything anew, the encoder too.")
@click.option("--skip-bad", is_flag=True, help="Report documents that cannot be read, and go on without them.")
@click.option("--watch", is_flag=True, help="Then follow the folder, and build whatever changes, until stopped.")
@json_option
@click.pass_context
def index_command(
    ctx: click.Context,
    corpus: Path | None,
    precision: str | None,
    ray: str | None,
    rebuild: bool,
    skip_bad: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Build the index; only what changed is encoded again."""
    with until_stopped() if watch else nullcontext():
        from dataclasses import asdict

        from rag.assemble import build_index

        chosen = settings(ctx, corpus=corpus, encoder__precision=precision, ray=ray)
        anew = rebuild

        def build() -> None:
            nonlocal anew
            report = build_index(
                chosen,
                rebuild=anew,
                progress=progress,
                say=say,
                on_bad=(lambda error: say(f"skipped {error}")) if skip_bad else None,
            )
            anew = False
            if as_json:
                print_json(asdict(report), one_line=watch)
            else:
                how = f"{report.reused} reused, {report.encoded} encoded" if report.changed else "up to date"
                say(f"{report.documents} documents, {report.passages} passages ({how}) in {report.seconds:.1f} s")

        if watch:
            from rag.watch import changes, follow

            follow(changes(chosen.corpus, chosen.index, say), build, say)
        else:
            build()


keys_option = click.option(
    "--keys", type=click.Path(path_type=Path, dir_okay=False), help="Answer only who has a key in FILE (over HTTP)."
)
rate_option = click.option(
    "--rate", type=click.IntRange(0), help="Requests a minute for each key or address; 0 is without limit."
)
proxy_option = click.option(
    "--proxy", multiple=True, metavar="ADDRESS", help="Believe this proxy whom it forwards for."
)


@main.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to bind; the default is this machine alone."
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@engine_option
@click.option("--name", multiple=True, help="A further name that readers call this machine by; may be given again.")
@click.option("--workers", type=click.IntRange(1), help="Processes that share the work; one a core is the most of use.")
@keys_option
@rate_option
@proxy_option
@click.option("--origin", multiple=True, metavar="URL", help="Pages of this origin may ask too (CORS).")
@click.option("--log", type=click.Choice(["text", "json"]), help="How the log is written to stderr; text by default.")
@click.option("--log-questions", is_flag=True, default=None, help="Let the log hold what is asked.")
@click.option("--traces", metavar="URL", help="Send OpenTelemetry spans to this collector (OTLP over HTTP).")
@click.pass_context
def serve(
    ctx: click.Context,
    host: str,
    port: int,
    name: tuple[str, ...],
    workers: int | None,
    keys: Path | None,
    rate: int | None,
    proxy: tuple[str, ...],
    origin: tuple[str, ...],
    log: str | None,
    log_questions: bool | None,
    traces: str | None,
) -> None:
    """Serve a page to ask on, and an API, described at /docs."""
    from rag.assemble import index_token, opening
    from rag.serve.server import run

    flags: dict[str, object] = {"keys": keys, "rate": rate, "proxies": proxy or None, "origins": origin or None}
    flags |= {"workers": workers, "log": log, "log_questions": log_questions, "traces": traces}
    chosen = settings(ctx, **{f"serve__{flag}": value for flag, value in flags.items()})
    values = chosen.serve
    run(
        partial(opening, chosen, values.workers, answers=values.answers),
        partial(index_token, chosen),
        host,
        port,
        name,
        workers=values.workers,
        waiting=values.waiting,
        keys=values.keys,
        rate=values.rate,
        proxies=values.proxies,
        origins=values.origins,
        log_format=values.log,
        log_questions=values.log_questions,
        traces=values.traces,
    )


@main.command("keys")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("name")
def keys_command(file: Path, name: str) -> None:
    """Add a key named NAME to FILE, and print it: this once, since FILE keeps its digest alone."""
    from rag.serve.keys import add_key

    click.echo(add_key(file, name))


@main.command()
@engine_option
@click.option("--http", is_flag=True, help="Streamable HTTP at /mcp, instead of this process's input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind with --http.")
@click.option("--port", type=click.IntRange(1, 65535), default=8001, show_default=True)
@click.option("--name", multiple=True, help="A further name that clients call this machine by; may be given again.")
@keys_option
@rate_option
@proxy_option
@click.pass_context
def mcp(
    ctx: click.Context,
    http: bool,
    host: str,
    port: int,
    name: tuple[str, ...],
    keys: Path | None,
    rate: int | None,
    proxy: tuple[str, ...],
) -> None:
    """Serve the tools ask, search and get_document to MCP clients."""
    from rag.assemble import index_token, opening
    from rag.serve.mcp import run_http, run_stdio

    chosen = settings(ctx, serve__keys=keys, serve__rate=rate, serve__proxies=proxy or None)
    values = chosen.serve
    open_service = opening(chosen, answers=values.answers if http else 0)
    changed = partial(index_token, chosen)
    if http:
        run_http(
            open_service,
            changed,
            host,
            port,
            name,
            keys=values.keys,
            rate=values.rate,
            proxies=values.proxies,
            log_format=values.log,
        )
    else:
        run_stdio(open_service, changed)


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


def _show_answer(events: Iterator[Event], model: str | None) -> None:
    """An answer as it comes: with a model, each sentence on a line of its own as soon as it has passed."""
    from rag.records import Answer, AnswerSentence

    out = console()
    with out.status(f"{model} is writing") if model and out.is_terminal else nullcontext():
        for event in events:
            if isinstance(event, AnswerSentence) and model:
                out.print(_line(*_cited(event)))
            elif isinstance(event, Answer):
                answer = event
    if answer.standalone:
        out.print(_line(("Read as: ", "dim"), answer.standalone))
    if answer.abstained:
        out.print(_line(("The corpus does not say.", "bold"), " ", (answer.reason or "", "dim"), "\n"))
        out.print(_line(("Nearest passages:", "dim")))
        for hit in answer.hits[:3]:
            named = ", ".join(hit.passage.episodes) or hit.passage.title
            out.print(_line("  ", (named, "cyan"), f"  {' '.join(hit.passage.text.split())[:160]}…"))
    else:
        _show_evidence(out, answer, said=model is not None)
    if answer.unanswered and not answer.abstained:
        out.print()
    for one in answer.unanswered:
        out.print(_line(("Not answered:", "bold"), f" {one.question}", (f" ({one.reason})", "dim")))
    if answer.draft:
        out.print(_line((f"\n{_drafted(answer.draft)}", "dim")))


def _cited(sentence: AnswerSentence) -> tuple[str | tuple[str, str], ...]:
    named = ", ".join(sentence.citations) or sentence.evidence[0].title
    return f"{sentence.text} ", (f"[{named}]", "bold cyan")


def _drafted(draft: Draft) -> str:
    """What became of a draft, in a line."""
    why = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in draft.objections.items())
    counts = (
        (draft.kept, "kept"),
        (draft.mended, "kept under another citation"),
        (draft.quoted, "in the words of their quote"),
        (draft.dropped, f"dropped ({why})"),
        (draft.added, "added from the corpus"),
    )
    line = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"Draft by {draft.model}: {'; '.join(filter(None, (draft.failed, line)))}."


def _show_evidence(out: Console, answer: Answer, *, said: bool) -> None:
    parts: list[str | tuple[str, str]] = []
    for sentence in () if said else answer.sentences:
        parts += [" "] * bool(parts) + list(_cited(sentence))
    out.print(_line(*parts, "" if said else "\n"))
    for number, sentence in enumerate(answer.sentences, start=1):
        for evidence in sentence.evidence:
            place = f"{evidence.document}:{evidence.start}-{evidence.end}"
            heading = f" › {evidence.heading}" if evidence.heading else ""
            title = evidence.title + heading
            out.print(_line((f"{number}.", "dim"), " ", (place, "cyan"), " ", (title, "dim")))
            quote = f"“{' '.join(evidence.quote.split())}” "
            _indented(out, _line(quote, (f"({_HOW[evidence.attribution]})", "dim")), 3)
    for citation in answer.citations:
        url = f"  {citation.url}" if citation.url else ""
        title = citation.title if citation.document else "(only mentioned: the corpus has no document about it)"
        out.print(_line((citation.episode, "bold cyan"), f" {title}", (url, "dim")))


def _show_hits(hits: Ranking, service: Service, neighbours: int) -> None:
    from rag.corpus.markers import plain

    out = console()
    if not hits:
        out.print("Nothing found.")
    for hit in hits:
        named = ", ".join(hit.passage.episodes)
        place = f"{hit.passage.document}:{hit.passage.start}-{hit.passage.end}"
        score, by = f"{hit.rank:>2}. {hit.score:.3f}", "+".join(hit.found_by)
        out.print(_line((score, "dim"), " ", (place, "cyan"), " ", (named, "bold"), " ", (by, "dim")))
        around = service.library.neighbours(hit.passage, neighbours) if neighbours else ()
        for passage in sorted((hit.passage, *around), key=lambda p: p.start):
            text = plain(passage.text, service.id_pattern)
            _indented(out, _line((text, "" if passage is hit.passage else "dim")), 4)


_MARKS = {"ok": ("✓", "green"), "info": ("·", "cyan"), "warning": ("!", "yellow"), "broken": ("✗", "red")}


@main.command()
@click.option("--corpus", type=click.Path(path_type=Path), help="Folder of documents; corpus/ by default.")
@click.option("--keys", type=click.Path(path_type=Path, dir_okay=False), help="The file of keys to be served with.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="To be served on.")
@click.option("--model", "ask_model", is_flag=True, help="Ask the language model for a word, for at most 15 s.")
@json_option
@click.pass_context
def doctor(
    ctx: click.Context, corpus: Path | None, keys: Path | None, port: int, ask_model: bool, as_json: bool
) -> None:
    """Check this installation, its corpus and its index, and say how to mend what is wrong.

    Changes nothing. Fails where something is broken; what is only worth mending or knowing is told.
    """
    from dataclasses import asdict

    from rag.doctor.examine import examine
    from rag.doctor.installation import Installation

    flags = ctx.obj["flags"] | {"corpus": corpus, "serve.keys": keys}
    found = []
    for check, finding in examine(Installation(ctx.obj["config"], os.environ, flags, port, ask_model)):
        found.append({"check": check, **asdict(finding)})
        if not as_json:
            mark, colour = _MARKS[finding.grade]
            told = click.style(mark, colour) if sys.stdout.isatty() else finding.grade
            mend = click.style(f" -> {one_line(finding.mend)}", bold=True) if finding.mend else ""
            click.echo(f"{told} {check}: {one_line(finding.found)}{mend}")  # not by rich, which may be what is missing
    if as_json:
        print_json({"findings": found})
    if any(finding["grade"] == "broken" for finding in found):
        sys.exit(1)


main.add_command(eval_group)


def ask_main() -> None:
    """`ask …` is `rag ask …`."""
    main(["ask", *sys.argv[1:]], prog_name="rag")
