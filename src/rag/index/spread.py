"""Texts -> vectors on the machines of a Ray cluster, bit for bit those that this machine would make."""

from __future__ import annotations

import logging
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.errors import BackendFailed, RagError, UserError
from rag.index.encode import CARD, MODEL, TOKENIZER, OnnxEncoder, Progress, silent

if TYPE_CHECKING:
    from rag.ports import Encoder, Vectors

AT_ONCE = 32_768
"""Texts that go to the cluster at once; this machine holds them and their vectors, some 60 MiB."""
TASK = 128
"""Texts of a task, about a second's work of a core; no more than that is encoded here."""
CONNECT_SECONDS = 60.0
JOIN = "ray start --address=HOST:6379"
STALL_SECONDS = 600.0
"""How long a cluster may finish no task before it is given up."""
PROBE = (
    "Which failure hurts GRPO more?",
    "A contrastive LoRA trained on 50 problems, at a cost of about $25, matches full RL on a 32B model in accuracy.",
    "Ünïcode, «quotes», 1-3% and E=mc²; " * 12,
)
"""Texts whose vectors tell whether a machine computes as this one does."""


@contextmanager
def cluster(address: str) -> Iterator[Callable[[Path], RayEncoder]]:
    """What opens an encoder on the Ray cluster at `auto` or `HOST:PORT`, which this machine belongs to.

    It does until the block ends; what is written to stdout meanwhile, which Ray does, is lost. No cluster is started.
    Raises UserError within about a minute where there is none.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray is imported
    try:
        import ray
        import ray.data
    except ImportError as missing:
        raise UserError("--ray needs Ray Data; install it: pip install 'podcast-rag[ray]'") from missing
    _try(address)
    before = signal.getsignal(signal.SIGTERM)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        ray.init(address, logging_level=logging.CRITICAL, log_to_driver=False)
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray puts its own in
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)
            if ray.cluster_resources().get("CPU", 0) < 1:
                raise UserError(f"the Ray cluster at {address} has no CPU; add a machine to it: {JOIN}")
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars, context.raise_original_map_exception = False, True
            context.execution_no_progress_timeout_s = STALL_SECONDS
            yield lambda folder: RayEncoder(folder, OnnxEncoder(folder))
        finally:
            ray.shutdown()


def _try(address: str) -> None:
    """Join the cluster once in another process: Ray tries for minutes, and cannot be stopped meanwhile."""
    join = "import logging, sys, ray; ray.init(sys.argv[1], logging_level=logging.CRITICAL, log_to_driver=False)"
    mend = f"make this machine one of a cluster's, {JOIN}, and give that address"
    try:
        tried = subprocess.run(  # noqa: S603
            [sys.executable, "-c", join, address],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CONNECT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"no Ray cluster answers at {address} within {CONNECT_SECONDS:.0f} s; {mend}") from None
    if tried.returncode:
        why = next((line.strip() for line in reversed(tried.stderr.splitlines()) if line.strip()), "it said nothing")
        raise UserError(f"the Ray cluster at {address} cannot be joined ({why[:300]}); {mend}")


@dataclass(frozen=True, slots=True)
class _Sent:
    """An encoder's files, and what it makes of the probe on the machine that sends them."""

    files: dict[str, bytes]
    probe: Vectors
    made_by: str


class RayEncoder:
    """An encoder whose files are sent to the cluster, once a machine; each of its cores encodes a task's texts.

    Plain tasks and no actors: what a lost machine was at, any other does again, where an actor's work would wait until
    there is room for the actor once more.
    """

    def __init__(self, folder: Path, here: Encoder) -> None:
        import ray

        self._here, self.name, self.dimension = here, here.name, here.dimension
        files = {name: (folder / name).read_bytes() for name in (MODEL, TOKENIZER, CARD)}
        self._sent = ray.put(_Sent(files, here.encode(PROBE), _machine()))

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """Shape (len(texts), dimension), float32, rows of length 1; `progress` goes by tasks.

        Raises UserError where a machine computes otherwise than this one, and BackendFailed where the cluster fails.
        """
        if len(texts) <= TASK:
            return self._here.encode(texts)
        import ray
        from ray.exceptions import RayError

        rows, tasks = [{"at": at, "text": text} for at, text in enumerate(texts)], -(-len(texts) // TASK)
        made = ray.data.from_items(rows, override_num_blocks=tasks).map_batches(
            _encoded, batch_size=None, batch_format="numpy", fn_kwargs={"sent": self._sent}
        )
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        times = np.zeros(len(texts), dtype=np.int64)
        try:
            for batch in progress(made.iter_batches(batch_size=None, batch_format="numpy"), tasks, "encoding"):
                out[batch["at"]] = batch["vector"]
                times[batch["at"]] += 1
        except (RayError, ConnectionError, TimeoutError) as error:
            why = _why(error)  # Ray adds lines to what a task raised
            refused = isinstance(why, RagError)
            raise (type(why)(str(why).splitlines()[0]) if refused else BackendFailed(_failed(why))) from error
        if not (times == 1).all():
            raise BackendFailed(_failed(f"{(times != 1).sum()} of {len(texts)} texts came back other than once"))
        return out


def _why(error: BaseException) -> BaseException:
    """What a task raised, out of what Ray wraps it in."""
    while inner := getattr(error, "cause", None) or error.__cause__:
        error = inner
    return error


def _failed(why: object) -> str:
    line = next(iter(str(why).strip().splitlines()), "") or type(why).__name__
    return f"the Ray cluster failed ({line[:300]}); the index before serves on, and `rag index` begins anew"


def _machine() -> str:
    return f"{platform.node()} ({platform.machine()}, onnxruntime {version('onnxruntime')})"


def _encoded(batch: dict[str, np.ndarray], sent: Any) -> dict[str, np.ndarray]:
    """On a machine of the cluster: one text after another, since the other cores have tasks of their own."""
    encoder = _opened(sent)
    return {"at": batch["at"], "vector": np.concatenate([encoder.encode([str(text)]) for text in batch["text"]])}


@lru_cache(maxsize=1)
def _opened(sent: Any) -> OnnxEncoder:
    """The encoder that was sent, opened once a process. Raises UserError where it computes otherwise here."""
    import ray

    return _open(ray.get(sent))


def _open(sent: _Sent) -> OnnxEncoder:
    with TemporaryDirectory() as folder:
        for name, content in sent.files.items():
            (Path(folder) / name).write_bytes(content)
        encoder = OnnxEncoder(Path(folder))
    if not np.array_equal(encoder.encode(PROBE), sent.probe):
        raise UserError(
            f"{_machine()} makes other vectors than {sent.made_by}, and an index holds one kind; "
            "give all machines the same onnxruntime and kind of processor, or leave it out of the cluster"
        )
    return encoder
