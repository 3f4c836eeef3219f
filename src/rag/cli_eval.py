"""The command line's evals: `rag eval …`."""

from __future__ import annotations

from pathlib import Path

import click

from rag.errors import UserError
from rag.terminal import generator_option, json_option, print_json, progress, retriever_option, say, settings


@click.group("eval")
def eval_group() -> None:
    """Judge retrieval and answers."""


_file = click.Path(path_type=Path, dir_okay=False)
_folder = click.argument("folder", type=click.Path(path_type=Path), default=Path("evals"))
_level = click.option("--level", type=click.Choice(["episode", "passage"]), help="Of our own set; episode by default.")


@eval_group.command("retrieval")
@_folder
@click.option("--split", help="Which judgements (qrels/SPLIT.tsv) or questions: dev or test.")
@retriever_option
@_level
@click.option("--run-out", type=_file, help="Write a TREC run file here.")
@click.option("--qrels-out", type=_file, help="Write what it is judged by here, as TREC qrels.")
@json_option
@click.pass_context
def eval_retrieval(
    ctx: click.Context,
    /,
    folder: Path,
    split: str | None,
    retriever: str | None,
    level: str | None,
    run_out: Path | None,
    qrels_out: Path | None,
    as_json: bool,
) -> None:
    """Judge the ranking of FOLDER's questions: our evals/, or any collection in BEIR layout.

    Our own set is judged by episodes and by passages; --level says which of them the files hold.
    """
    from rag.evals.table import format_table
    from rag.evals.trec import write_qrels, write_run
    from rag.judge import judge_retrieval

    if level is not None and (folder / "corpus.jsonl").exists():
        raise UserError(f"{folder} is judged by documents; --level is for our own set")
    _into_a_folder("--run-out", run_out)
    _into_a_folder("--qrels-out", qrels_out)
    chosen = settings(ctx, search__retriever=retriever)
    judged = judge_retrieval(chosen, folder, split, progress=progress, say=say)
    first, *others = judged.values()
    held = judged[level] if level else first
    if run_out is not None:
        write_run(run_out, held.run)
    if qrels_out is not None:
        write_qrels(qrels_out, held.qrels)
    if as_json:
        print_json(first.report.to_dict() | ({"passages": judged["passage"].report.to_dict()} if others else {}))
    else:
        tables = [first, *(other for other in others if other.qrels)]
        click.echo("\n\n".join(format_table(one.report) for one in tables))


@eval_group.command("answers")
@_folder
@click.option("--split", help="Which questions: dev or test.")
@retriever_option
@generator_option
@click.option("--as-typed", is_flag=True, help="Without the conversation that a question comes after.")
@json_option
@click.pass_context
def eval_answers(
    ctx: click.Context,
    /,
    folder: Path,
    split: str | None,
    retriever: str | None,
    generator: str | None,
    as_typed: bool,
    as_json: bool,
) -> None:
    """Judge the answers to FOLDER's questions, or to those of a file such as evals/conversations.jsonl."""
    from rag.evals.table import format_table
    from rag.judge import judge_answers

    chosen = settings(ctx, search__retriever=retriever, generator=generator)
    report = judge_answers(chosen, folder, split, progress=progress, alone=as_typed)
    if as_json:
        print_json(report.to_dict())
    else:
        click.echo(format_table(report))


@eval_group.command("compare")
@click.argument("before", type=_file)
@click.argument("after", type=_file)
@click.option("--qrels", type=_file, help="The files are TREC runs, judged by this: TREC qrels, or a BEIR .tsv.")
@click.option("--measure", multiple=True, help="Only this one; may be given again. The first says what moved most.")
@_level
@click.option("--common", is_flag=True, help="Compare the questions that both have, and leave out the others.")
@json_option
def eval_compare(
    before: Path,
    after: Path,
    qrels: Path | None,
    measure: tuple[str, ...],
    level: str | None,
    common: bool,
    as_json: bool,
) -> None:
    """Compare two reports on the same questions, as `rag eval retrieval|answers --json` prints them."""
    from rag.evals.compare import compare
    from rag.evals.metrics import RETRIEVAL_MEASURES
    from rag.evals.report import read_report, read_run_report
    from rag.evals.table import format_comparison
    from rag.evals.trec import read_qrels

    if qrels is not None:
        if level is not None:
            raise UserError("--level is for reports; a TREC run is of one level")
        judged = read_qrels(qrels)
        first, second = (
            read_run_report(path, judged, measure or RETRIEVAL_MEASURES, qrels) for path in (before, after)
        )
        measure = first.measures  # as ir-measures spells them
    else:
        part = "passages" if level == "passage" else None
        first, second = (read_report(path, part) for path in (before, after))
        if level is not None and "answers" in (first.kind, second.kind):
            path = before if first.kind == "answers" else after
            raise UserError(f"{path} is on answers, which have no level; --level is for reports on retrieval")
    found = compare(first, second, measure, common=common, names=(str(before), str(after)))
    if any(found.left_out):
        say(f"left out: {found.left_out[0]} questions of {before}, {found.left_out[1]} of {after}")
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(format_comparison(found))


@eval_group.command("gate")
@_folder
@click.option("--baseline", type=_file, help="What to compare with; FOLDER/baseline.json by default.")
@click.option("--update", is_flag=True, help="Write the baseline instead.")
@json_option
@click.pass_context
def eval_gate(ctx: click.Context, /, folder: Path, baseline: Path | None, update: bool, as_json: bool) -> None:
    """Exit 1 if retrieval or answers on FOLDER's questions are worse than the baseline, beyond chance."""
    from rag.evals.gate import gate, read_baseline, write_baseline
    from rag.evals.table import format_verdict
    from rag.judge import judge_all

    path = baseline or folder / "baseline.json"
    if update:
        _into_a_folder("--baseline", path)
    committed = None if update else read_baseline(path)
    current = judge_all(settings(ctx), folder, progress=progress, say=say)
    if committed is None:
        write_baseline(path, current)
        say(f"wrote {path}: {len(current.questions)} questions")
        if as_json:
            print_json({"written": str(path), "questions": len(current.questions)})
        return
    verdict = gate(committed, current)
    if as_json:
        print_json(verdict.to_dict())
    else:
        click.echo(format_verdict(verdict))
    if verdict.worse:
        ctx.exit(1)


@eval_group.command("lint")
@_folder
@json_option
@click.pass_context
def eval_lint(ctx: click.Context, /, folder: Path, as_json: bool) -> None:
    """Check FOLDER's questions themselves against the indexed corpus; exit 1 on errors."""
    from rag.evals.table import format_lint
    from rag.judge import judge_questions

    found = judge_questions(settings(ctx), folder)
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(format_lint(found))
    if found.errors:
        ctx.exit(1)


@eval_group.command("report")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("evals"), show_default=True)
@click.option("--quick", is_flag=True, help="Ask 200 queries a collection, and build no index of other passages.")
@click.option("--fresh", is_flag=True, help="Measure everything anew; what was kept is not read.")
@click.option("--verifier", multiple=True, type=_file, help="Judge the verifier on these claims too; again for more.")
@click.option("--answerability", multiple=True, type=_file, help="Judge answerability on these questions too.")
@click.pass_context
def eval_report(
    ctx: click.Context,
    /,
    folders: tuple[Path, ...],
    out: Path,
    quick: bool,
    fresh: bool,
    verifier: tuple[Path, ...],
    answerability: tuple[Path, ...],
) -> None:
    """Vary one thing at a time, and write what it does as RESULTS.md and report.html.

    Asks our own evals/, or the one of FOLDERS that has a questions.jsonl, and every FOLDER in BEIR layout. What was
    measured is kept below the index folder: an interrupted run goes on, and a second one only draws.
    """
    from rag.ablate import FOLDER, Ablation, Kept, RealBench
    from rag.evals.markdown import to_markdown
    from rag.evals.page import to_page
    from rag.evals.pictures import require_matplotlib

    require_matplotlib()
    collections = tuple(folder for folder in folders if (folder / "corpus.jsonl").exists())
    own = [folder for folder in folders if folder not in collections] or [Path("evals")]
    if len(own) > 1:
        raise UserError(f"{own[0]} and {own[1]} are no collections (corpus.jsonl); wanted one set of our own at most")
    chosen = settings(ctx)
    kept = Kept(chosen.index / FOLDER / "results", fresh)
    ablation = Ablation(chosen, own[0], collections, RealBench(progress, say), kept, quick)
    results = ablation.results(verifier, answerability)
    written = {"RESULTS.md": to_markdown(results), "report.html": to_page(results)}
    out.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")
        say(f"wrote {out / name}")


def _into_a_folder(option: str, file: Path | None) -> None:
    """Raises UserError where a file would be written into no folder."""
    if file is not None and not (folder := file.absolute().parent).is_dir():
        raise UserError(f"{option} {file}: there is no folder {folder}; make it, or give another file")


def _not_the_input(out: Path | None, file: Path) -> None:
    """Raises UserError where scores would be written over what they are of, or into no folder."""
    if out is not None and out.exists() and file.exists() and out.samefile(file):
        raise UserError(f"--out {out} is the input; give another file")
    _into_a_folder("--out", out)


@eval_group.command("verifier")
@click.argument("file", type=_file)
@click.option("--out", type=_file, help='Write a line {"id", "score"} a row here, in order.')
@json_option
@click.pass_context
def eval_verifier(ctx: click.Context, /, file: Path, out: Path | None, as_json: bool) -> None:
    """Judge the support scores of FILE's rows {"claim", "passages", "label"}; rows without a label are scored alone.

    A score is in 0..1 and higher for what the passages support; from 0.5 up it says that they do.
    """
    from rag.evals.verifier import format_verifier, report_verifier, write_scores
    from rag.judge import score_claims

    _not_the_input(out, file)
    claims, scores = score_claims(settings(ctx), file, progress=progress)
    if out is not None:
        write_scores(out, claims, scores)
    if all(claim.label is None for claim in claims):
        say(f"{file} has no labels: {len(claims)} claims scored, none judged")
        if as_json:
            print_json({"claims": len(claims), "measures": {}})
        return
    report = report_verifier(file.name, claims, scores)
    if as_json:
        print_json(report.to_dict())
    else:
        click.echo(format_verifier(report))


@eval_group.command("answerability")
@click.argument("file", type=_file)
@click.option("--out", type=_file, help='Write a line {"id", "score"} a row here, in order; higher is answerable.')
@json_option
@click.pass_context
def eval_answerability(ctx: click.Context, /, file: Path, out: Path | None, as_json: bool) -> None:
    """Judge P(the passage answers the question) of FILE's rows {"question", "passage", "unanswerable"}.

    Rows without "unanswerable" are scored alone. A score is in 0..1; from 0.5 up it says that the passage answers.
    """
    from rag.evals.answerability import format_answerability, report_answerability, write_pair_scores
    from rag.judge import score_pairs

    _not_the_input(out, file)
    pairs, scores = score_pairs(settings(ctx), file, progress=progress)
    if out is not None:
        write_pair_scores(out, pairs, scores)
    if all(pair.answerable is None for pair in pairs):
        say(f"{file} has no labels: {len(pairs)} questions scored, none judged")
        if as_json:
            print_json({"pairs": len(pairs), "measures": {}})
        return
    report = report_answerability(file.name, pairs, scores)
    if as_json:
        print_json(report.to_dict())
    else:
        click.echo(format_answerability(report))


@eval_group.group("fit")
def eval_fit() -> None:
    """Fit the weights that come with the package."""


@eval_fit.command("verifier")
@click.argument("file", type=_file)
@json_option
@click.pass_context
def fit_verifier(ctx: click.Context, /, file: Path, as_json: bool) -> None:
    """Fit the support models to FILE's rows {"claim", "passages", "label"}, and print cross-validated figures."""
    from rag.evals.verifier import format_verifier
    from rag.judge import fit_support

    reports = fit_support(settings(ctx), file, progress=progress)
    if as_json:
        print_json({name: report.to_dict() for name, report in reports.items()})
    else:
        click.echo("\n\n".join(map(format_verifier, reports.values())))


@eval_fit.command("answerability")
@click.argument("file", type=_file)
@click.option(
    "--questions", type=click.Path(path_type=Path), default=Path("evals"), help="Whose development questions to fit to."
)
@json_option
@click.pass_context
def fit_answerability(ctx: click.Context, /, file: Path, questions: Path, as_json: bool) -> None:
    """Fit P(answerable) to FILE's rows {"question", "passage", "unanswerable"} and then to our questions.

    Prints cross-validated figures, and the confidence below which to abstain.
    """
    from rag.evals.answerability import format_answerability
    from rag.judge import fit_answerability

    fitted = fit_answerability(settings(ctx), file, questions, progress=progress, say=say)
    if as_json:
        print_json(fitted.to_dict())
        return
    click.echo(format_answerability(fitted.pairs))
    for model in (fitted.questions, fitted.alone):
        click.echo(f"\n{format_answerability(model.report)}")
        click.echo(
            f"answer from {model.least:.3f} up: abstains on {model.abstention_recall:.2f} of the unanswerable and on "
            f"{model.false_abstentions:.2f} of the answerable"
        )
