"""The command line's evals: `rag eval …`."""

from __future__ import annotations

from pathlib import Path

import click

from rag.terminal import json_option, print_json, progress, retriever_option, say, settings


@click.group("eval")
def eval_group() -> None:
    """Judge retrieval and answers."""


_run_out = click.option(
    "--run-out", type=click.Path(path_type=Path, dir_okay=False), help="Write a TREC run file here."
)


@eval_group.command("retrieval")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("evals"))
@click.option("--split", help="Which judgements (qrels/SPLIT.tsv) or questions: dev or test.")
@retriever_option
@_run_out
@json_option
@click.pass_context
def eval_retrieval(
    ctx: click.Context, /, folder: Path, split: str | None, retriever: str | None, run_out: Path | None, as_json: bool
) -> None:
    """Judge the ranking of FOLDER's questions: our evals/, or any collection in BEIR layout."""
    from rag.evals.evaluate import format_table
    from rag.evals.metrics import write_run
    from rag.judge import judge_retrieval

    chosen = settings(ctx, search__retriever=retriever)
    run, report = judge_retrieval(chosen, folder, split, progress=progress, say=say)
    if run_out is not None:
        write_run(run_out, run)
    if as_json:
        print_json(report.to_dict())
    else:
        click.echo(format_table(report))


@eval_group.command("answers")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("evals"))
@click.option("--split", help="Which questions: dev or test.")
@retriever_option
@json_option
@click.pass_context
def eval_answers(ctx: click.Context, /, folder: Path, split: str | None, retriever: str | None, as_json: bool) -> None:
    """Judge the answers to FOLDER's questions."""
    from rag.evals.evaluate import format_table
    from rag.judge import judge_answers

    report = judge_answers(settings(ctx, search__retriever=retriever), folder, split, progress=progress)
    if as_json:
        print_json(report.to_dict())
    else:
        click.echo(format_table(report))
