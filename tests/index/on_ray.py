"""A Ray cluster of two nodes, and what is done with it: `on_ray.py FOLDER` prints what was seen, as JSON.

Run where nothing but this is: in a network of its own, since Ray listens on more than loopback, and in a process space
of its own, since a node that is killed leaves processes behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from click.testing import CliRunner

from faults.tiny import tiny_encoder
from rag.cli import main as cli
from rag.errors import RagError
from rag.index.encode import MODEL, TOKENIZER, EncoderCard, OnnxEncoder
from rag.index.spread import TASK, RayEncoder, cluster
from rag.index.vectors import KEYS, VECTORS

HEAD, OTHER, PORT = "127.0.0.1", "127.0.0.2", 6399
ADDRESS = f"{HEAD}:{PORT}"
TASKS = 20


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = struct.pack("16sh14x", b"lo", 1)  # IFF_UP
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS


def start(folder: Path, address: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    store = "--object-store-memory=80000000"
    with (folder / f"{address}.log").open("wb") as log:
        return subprocess.Popen([*command, store, f"--node-ip-address={address}", *options], stdout=log, stderr=log)


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} is not so after {seconds} s")
        time.sleep(0.05)
    return found


def alive() -> list[str]:
    import ray

    return sorted(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"])


def processes() -> Iterator[tuple[int, int, str]]:
    """The number, the parent and the title of each."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            yield int(path.name), parent, (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def at_work(raylet: int) -> bool:
    """Whether a task runs on a node: Ray names its processes by what they do."""
    return any(parent == raylet and "MapBatches" in title for _, parent, title in processes())


def slow_encoder(folder: Path) -> OnnxEncoder:
    """384 dimensions, so that a task's vectors stay on the node that made them; some milliseconds a text."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir()
    random, width = np.random.default_rng(0), 384
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0} | {str(n): n for n in range(1, 1000)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / TOKENIZER))
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["0"])]
    for layer in range(8):
        nodes += [
            helper.make_node("MatMul", [str(layer), "weights"], [f"{layer}m"]),
            helper.make_node("Tanh", [f"{layer}m"], [str(layer + 1)]),
        ]
    nodes.append(helper.make_node("ReduceMean", ["8", "axes"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("LpNormalization", ["mean"], ["vector"], axis=1, p=2))
    held = {
        "table": random.standard_normal((1000, width), dtype=np.float32),
        "weights": random.standard_normal((width, width), dtype=np.float32) / 20,
        "axes": np.array([1]),
    }
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, width])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), folder / MODEL)
    EncoderCard("slow", "slow", "fp32", width, 128, "slow").write(folder)
    return OnnxEncoder(folder)


class Counted(OnnxEncoder):
    """How many texts this process encoded; a cluster's are other ones."""

    encoded = 0

    def encode(self, texts: Any, *rest: Any) -> Any:
        Counted.encoded += len(texts)
        return super().encode(texts, *rest)


class Otherwise(OnnxEncoder):
    """Makes what another processor might: the last bit differs."""

    def encode(self, texts: Any, *rest: Any) -> Any:
        return np.nextafter(super().encode(texts, *rest), np.float32(2))


def index(folder: Path) -> dict[str, Any]:
    """The same corpus, indexed here and on the cluster by the command."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for page in range(20):
        said = " ".join(f"Bread {page}.{n} costs ${n} and {page} problems." for n in range(20))
        (corpus / f"{page}.md").write_text(f"---\ntitle: Page {page}\n---\n{said}\n", encoding="utf-8")
    made = {}
    for name, more in (("here", []), ("there", ["--ray", ADDRESS])):
        command = ["--index", str(folder / name), "index", "--corpus", str(corpus), "--json", *more]
        Counted.encoded = 0
        with tiny_encoder(), patch("rag.index.spread.OnnxEncoder", Counted):
            result = CliRunner().invoke(cli, command)
        if result.exit_code:
            raise RuntimeError(result.output) from result.exception
        generation = folder / name / "generations" / json.loads(result.stdout)["generation"]
        made[name] = [(generation / file).read_bytes() for file in (KEYS, VECTORS)], result.stderr
    texts = len(np.load(generation / KEYS))
    return {
        "same": made["here"][0] == made["there"][0],
        "texts": texts,
        "encoded_here": Counted.encoded,
        "stderr": made["there"][1],
    }


def lose_a_node(folder: Path, other: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Kill a node at work when half of the tasks are back."""
    random = np.random.default_rng(1)
    texts = [" ".join(map(str, random.integers(1, 1000, 100))) for _ in range(TASKS * TASK - 5)]
    here = slow_encoder(folder / "slow")
    nodes: list[list[str]] = []

    def killing(batches: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        raylet = next(pid for pid, parent, title in processes() if parent == other.pid and "/raylet " in title)
        for back, batch in enumerate(batches, 1):
            if back == total // 2:
                nodes.append(alive())
                until(lambda: at_work(raylet))
                other.kill()
                os.kill(raylet, signal.SIGKILL)
            yield batch

    with cluster(ADDRESS) as opened:
        until(lambda: len(alive()) == 2)
        found = opened(folder / "slow").encode(texts, killing)
        until(lambda: len(alive()) == 1)
        nodes.append(alive())
        try:
            RayEncoder(folder / "slow", Otherwise(folder / "slow")).encode(texts[: 2 * TASK])
            refused = ""
        except RagError as error:
            refused = f"{type(error).__name__}: {error}"
    wanted = here.encode(texts)
    return {
        "nodes": nodes,
        "same": found.tobytes() == wanted.tobytes(),
        "distinct": len(np.unique(wanted, axis=0)),
        "texts": len(texts),
        "refused": refused,
    }


def nobody_there() -> str:
    with patch("rag.index.spread.CONNECT_SECONDS", 6.0):
        try:
            with cluster(f"{HEAD}:9"):
                return "joined"
        except RagError as error:
            return f"{type(error).__name__}: {error}"


def main(folder: Path) -> None:
    """Writes what each part gives, by name."""
    loopback_up()
    start(folder, HEAD, "--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={folder / 't'}")
    nobody = nobody_there()  # takes as long as a node to start
    until(lambda: socket.socket().connect_ex((HEAD, PORT)) == 0)
    other = start(folder, OTHER, f"--address={ADDRESS}")
    seen = {
        "interfaces": [name for _, name in socket.if_nameindex()],
        "nobody": nobody,
        "index": index(folder),
        "lost": lose_a_node(folder, other),
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
