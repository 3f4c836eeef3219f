"""Ours beside what people would pick instead: the same documents, questions and model, in one run.

    python benchmarks/compare.py --collection FOLDER [--collection FOLDER…] [--rounds 5] [--fresh]

See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from summary import MEASURES, Quality, quality_table, speed_tables, table

HERE = Path(__file__).resolve().parent
WORK, ENVIRONMENTS, SYSTEMS = HERE / ".work", HERE / ".environments", HERE / "rivals"
WARM, UP, SUBSET = 200, 5, 200
"""Questions of a warm round, those before it that are not timed, and documents of an indexing round."""


@dataclass(frozen=True, slots=True)
class System:
    """`name` is its folder of results; `script` a file of rivals/; `environment` None for this interpreter."""

    name: str
    title: str
    script: str
    environment: str | None = None

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return ENVIRONMENTS / self.environment / "bin" / "python" if self.environment else Path(sys.executable)

    def command(self, *arguments: object) -> list[str]:
        """Its script's command line."""
        return [str(self.python), str(SYSTEMS / self.script), *map(str, arguments)]

    def cold(self, folder: Path, question: str) -> list[str]:
        """A fresh process that answers; ours is the command that people type."""
        if self.environment is None:
            return [sys.executable, "-m", "rag", "--index", str(folder), "search", "--json", question]
        return self.command("ask", folder, question)

    def surroundings(self) -> dict[str, str]:
        """Without the network, and for the others without our sources."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAG_")}
        if self.environment:
            kept.pop("PYTHONPATH", None)
        return kept | {"HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"}


ALL = (
    System("ours", "ours", "ours.py"),
    System("ours_documents", "ours, without sentence vectors", "ours.py"),
    System("plain", "plain script", "plain.py", "plain"),
    System("txtai_hybrid", "txtai hybrid", "txtai_hybrid.py", "txtai"),
    System("haystack_hybrid", "Haystack in-memory hybrid", "haystack_hybrid.py", "haystack"),
    System("llamaindex_fusion", "LlamaIndex fusion", "llamaindex_fusion.py", "llamaindex"),
)
TITLES = {system.name: system.title for system in ALL}


class Kept:
    """Measurements in a JSON Lines file, so that an interrupted run goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def has(self, system: str, measure: str, round: int) -> bool:
        """Whether that is measured."""
        return any((r["system"], r["measure"], r["round"]) == (system, measure, round) for r in self.rows)

    def add(self, system: str, measure: str, round: int, value: float) -> None:
        """Keep it."""
        self.rows.append({"system": system, "measure": measure, "round": round, "value": value})
        with self._path.open("a") as file:
            file.write(json.dumps(self.rows[-1]) + "\n")

    def rounds(self, measure: str) -> dict[str, list[float]]:
        """System -> its figures, by round."""
        out: dict[str, list[float]] = {}
        for row in sorted(self.rows, key=lambda r: r["round"]):
            if row["measure"] == measure:
                out.setdefault(row["system"], []).append(row["value"])
        return out


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def install(system: System) -> str | None:
    """Make the environment; the error's last line where that fails."""
    if system.environment is None:
        return None
    folder, wanted = ENVIRONMENTS / system.environment, SYSTEMS / f"{Path(system.script).stem}.txt"
    done = folder / "installed.txt"
    if done.exists() and done.read_text() == wanted.read_text():
        return None
    say(f"installing {system.title}")
    torch = next(line for line in wanted.read_text().splitlines() if line.startswith("torch=="))
    pip = [str(system.python), "-m", "pip", "install", "--quiet"]
    for command in ([sys.executable, "-m", "venv", str(folder)], [*pip, torch], [*pip, "-r", str(wanted)]):
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            return (made.stderr.strip().splitlines() or ["no message"])[-1]
    shutil.copy(wanted, done)
    return None


def called(system: System, *arguments: object) -> dict[str, Any]:
    """Run its script; the last line that it prints, where that is JSON."""
    made = subprocess.run(
        system.command(*arguments), env=system.surroundings(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, check=True, cwd=WORK,
    )  # fmt: skip
    return json.loads(made.stdout.splitlines()[-1]) if made.stdout.strip() else {}


def prepare(system: System, collection: Path) -> None:
    """The whole collection, indexed and asked: kept for the next time."""
    work = WORK / collection.name
    work.mkdir(parents=True, exist_ok=True)
    folder = place(system, collection)
    run, report = work / f"{system.name}.run", work / f"{system.name}.index.json"
    if not report.exists():
        say(f"{collection.name}: {system.title} indexes it")
        report.write_text(json.dumps(called(system, "index", collection / "corpus.jsonl", folder)))
    if not run.exists():
        say(f"{collection.name}: {system.title} answers its queries")
        called(system, "run", folder, collection / "queries.jsonl", partial := run.with_suffix(".partial"))
        partial.rename(run)


def place(system: System, collection: Path) -> Path:
    return WORK / collection.name / (f"{system.name}/index" if system.environment is None else system.name)


def child(system: System, command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a fresh process.

    A small process between starts it: on Linux the peak of a process that is started counts its parent's.
    """
    code = (
        "import resource, subprocess, sys, time; b = time.perf_counter(); "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "print(time.perf_counter() - b, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, *command], env=system.surroundings(), check=True, capture_output=True, text=True,
        cwd=WORK,
    )  # fmt: skip
    seconds, mebibytes = map(float, made.stdout.split())
    return seconds, mebibytes


def warm(system: System, folder: Path, questions: list[str]) -> tuple[float, float, float]:
    """p50 and p95 in ms, and peak MiB, of questions that one process answers one after another."""
    with subprocess.Popen(
        system.command("serve", folder), env=system.surroundings(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, cwd=WORK,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        seconds, peak = [], 0.0
        for question in (*questions[-UP:], *questions[:WARM]):
            process.stdin.write(json.dumps({"question": question}) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            seconds.append(1000 * answer["seconds"])
            peak = answer["peak_mib"]
        process.stdin.close()
    cuts = statistics.quantiles(seconds[UP:], n=20)
    return statistics.median(seconds[UP:]), cuts[-1], peak


def measure(kept: Kept, systems: list[System], collection: Path, rounds: int) -> None:
    """Rounds, in each of which every system does everything once."""
    questions = [row["text"] for row in rows(collection / "queries.jsonl")]
    lines = (collection / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    subset = WORK / collection.name / "subset.jsonl"
    subset.write_text("".join(lines[:: max(1, len(lines) // SUBSET)][:SUBSET]), encoding="utf-8")
    for round in range(rounds):
        say(f"round {round + 1} of {rounds}")
        for system in systems:
            if not kept.has(system.name, "cold_mib", round):
                seconds, peak = child(system, system.cold(place(system, collection), questions[round]))
                kept.add(system.name, "cold_seconds", round, seconds)
                kept.add(system.name, "cold_mib", round, peak)
        for system in systems:
            if not kept.has(system.name, "rate", round):
                into = WORK / "subset" / (f"{system.name}/index" if system.environment is None else system.name)
                made = called(system, "index", subset, into)
                kept.add(system.name, "rate", round, made["documents"] / made["seconds"])
        for system in systems:
            if not kept.has(system.name, "serving_mib", round):
                p50, p95, peak = warm(system, place(system, collection), questions)
                kept.add(system.name, "warm_p50_ms", round, p50)
                kept.add(system.name, "warm_p95_ms", round, p95)
                kept.add(system.name, "serving_mib", round, peak)


def judged(collection: Path, systems: list[System]) -> Iterator[Quality]:
    """nDCG@10 of every run, ours first, and each of the others beside ours."""
    from rag.evals.datasets import load_beir
    from rag.evals.metrics import score_run
    from rag.evals.paired import randomisation_test
    from rag.evals.trec import read_run

    qrels = load_beir(collection).qrels
    ours: dict[str, float] = {}
    for system in systems:
        run = read_run(WORK / collection.name / f"{system.name}.run")
        each = score_run(run, qrels, ["nDCG@10"])["nDCG@10"]
        ours = ours or each
        differences = [ours[query] - each[query] for query in ours]
        mean = statistics.fmean(each.values())
        yield Quality(
            collection.name, system.name, mean, statistics.fmean(differences), randomisation_test(differences)
        )


def mebibytes(folder: Path) -> float:
    return sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink()) / 2**20


def page(kept: Kept, systems: list[System], collections: list[Path], missing: dict[str, str]) -> str:
    """RESULTS.md."""
    first = collections[0]
    indexed = json.loads((WORK / first.name / f"{systems[0].name}.index.json").read_text())
    disk = [
        [
            system.title,
            f"{mebibytes(place(system, first)):.0f}",
            f"{mebibytes(system.python.parent.parent):.0f}",
        ]
        for system in systems
    ]
    measured = {m.name: found for m in MEASURES if (found := kept.rounds(m.name))}
    quality = [one for collection in collections for one in judged(collection, systems)]
    rounds = max((row["round"] for row in kept.rows), default=-1) + 1
    times = f"{rounds} interleaved round{'s' * (rounds != 1)}"
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    parts = [
        "# Beside what people would pick instead",
        f"Written by `benchmarks/compare.py`; README.md says what is measured. {machine}, {times} "
        f"over {first.name} ({indexed['documents']} documents). Figures are medians (least to "
        "greatest).",
        "\n".join(f"{TITLES[name]} is missing: it could not be installed ({why})." for name, why in missing.items()),
        "## Speed and memory",
        speed_tables(measured, TITLES, "ours") if measured else "Not measured yet.",
        "![How many times better ours is](ratios.svg)" if measured else "",
        "## Disk, MiB",
        table(["", "index", "environment"], disk),
        "Our environment is the one that this ran in, with everything that development needs; our index carries its "
        "encoder.",
        "## What is found",
        "The paired randomisation test says how likely the difference is by chance.",
        quality_table(quality, TITLES),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def draw(kept: Kept, file: Path) -> None:
    """A dot and its spread for every measure and every other system."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "ratios"
    import matplotlib.pyplot as plt

    from summary import ratio

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    others = [system for system in ALL if system.environment]
    for shift, (system, mark) in enumerate(zip(others, "osD^", strict=True)):
        for at, one in enumerate(MEASURES):
            found = kept.rounds(one.name)
            if "ours" in found and system.name in found:
                r = ratio(found["ours"], found[system.name], higher=one.higher)
                axes.errorbar(
                    r.middle, -at - 0.15 * shift, xerr=[[r.middle - r.least], [r.greatest - r.middle]], fmt=mark,
                    color=f"C{shift}", label=system.title if at == 0 else None,
                )  # fmt: skip
    for at, one in enumerate(MEASURES):
        if one.target:
            axes.plot([one.target] * 2, [-at + 0.2, -at - 0.65], color="grey")
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.6)
    axes.set_yticks([-at - 0.22 for at in range(len(MEASURES))], [one.title for one in MEASURES])
    axes.set_xlabel("times better than the other; grey: the target against the best of them")
    axes.legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--collection", type=Path, action="append", required=True, help="BEIR layout; the first is timed"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fresh", action="store_true", help="time anew, and build ours anew; the others' indexes stay")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    collections = [folder.resolve() for folder in options.collection]
    WORK.mkdir(exist_ok=True)
    timed = WORK / f"{collections[0].name}.jsonl"
    if options.fresh:
        timed.unlink(missing_ok=True)
        for old in (path for c in collections for path in (WORK / c.name).glob("ours*")):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    missing = {system.name: why for system in ALL if (why := install(system)) is not None}
    systems = [system for system in ALL if system.name not in missing]
    for collection in collections:
        for system in systems:
            prepare(system, collection)
    kept = Kept(timed)
    measure(kept, systems, collections[0], options.rounds)
    if kept.rows:
        draw(kept, options.out / "ratios.svg")
    (options.out / "RESULTS.md").write_text(page(kept, systems, collections, missing), encoding="utf-8")
    say(f"wrote {options.out / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
