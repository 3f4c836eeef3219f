"""How fast, as ratios to `plain.py` in one run; needs an index (`rag index`) and, for indexing, the `build` extra.

python benchmarks/compare.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUESTION = "How much did it cost to match full RL on a 32B model?"


def child(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a fresh process that runs the command."""
    code = (
        "import resource, subprocess, sys, time; b = time.perf_counter(); "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "print(time.perf_counter() - b, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    out = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True).stdout
    seconds, mebibytes = map(float, out.split())
    return seconds, mebibytes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds

    from rag.assemble import open_service
    from rag.corpus.split import index_text
    from rag.index.build import ENCODER
    from rag.index.encode import OnnxEncoder
    from rag.index.export import EncoderChoice, export, source_of
    from rag.index.store import IndexFolder
    from rag.settings import read_settings

    settings = read_settings(None, {}, {})
    service = open_service(settings)
    texts = [index_text(service.library.passage(row)) for row in range(len(service.library))]
    print(f"{len(texts)} passages, {rounds} interleaved rounds, medians")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "texts.json").write_text(json.dumps(texts))
        plain = [sys.executable, str(HERE / "plain.py")]
        subprocess.run(
            [*plain, "index", str(work / "texts.json"), str(work / "plain")], check=True, capture_output=True
        )
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(child([sys.executable, "-m", "rag", "ask", "--json", QUESTION]))
            theirs.append(child([*plain, "ask", str(work / "plain"), QUESTION]))
        seconds, memory = ([statistics.median(row[at] for row in rows) for rows in (ours, theirs)] for at in (0, 1))
        print(
            f"cold question: {seconds[0]:.2f} s against {seconds[1]:.2f} s, {seconds[1] / seconds[0]:.1f} times faster"
        )
        print(f"its memory: {memory[0]:.0f} MiB against {memory[1]:.0f} MiB, {memory[0] / memory[1]:.2f} of it")

        warm, alone = [], []
        encoder = OnnxEncoder(IndexFolder(settings.index).current()[0] / ENCODER)
        for at in range(200):
            question = f"{QUESTION[:-1]} in round {at}?"
            began = time.perf_counter()
            encoder.encode([question])
            alone.append(time.perf_counter() - began)
            began = time.perf_counter()
            service.answerer.ask(question)
            warm.append(time.perf_counter() - began)
        p50 = [1000 * statistics.median(values) for values in (warm, alone)]
        print(f"warm question: p50 {p50[0]:.1f} ms, encoding it alone {p50[1]:.1f} ms, {p50[0] / p50[1]:.2f} times")

        rates: dict[str, list[float]] = {"int8": [], "fp32": [], "plain": []}
        encoders = {}
        for precision in ("int8", "fp32"):
            choice = EncoderChoice(precision=precision)
            export(choice, source_of(choice), work / precision)
            encoders[precision] = OnnxEncoder(work / precision)
        for _ in range(rounds):
            for precision, model in encoders.items():
                began = time.perf_counter()
                model.encode(texts)
                rates[precision].append(len(texts) / (time.perf_counter() - began))
            out = subprocess.run(
                [*plain, "index", str(work / "texts.json"), str(work / "plain")],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            rates["plain"].append(len(texts) / float(out.split()[-1]))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        for precision in ("int8", "fp32"):
            rate, plainly = medians[precision], medians["plain"]
            print(f"encoding {precision}: {rate:.0f} passages/s, {rate / plainly:.2f} times plain's {plainly:.0f}")
    print(f"this process peaked at {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
