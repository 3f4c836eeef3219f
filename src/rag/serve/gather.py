"""The measures of all workers in one answer: whoever asks reaches one of them, by chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import SocketStream
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from rag.serve.workers import Worker

LONGEST = 2.0
"""Seconds that a worker has to tell its measures; one that does not is left out, and said to be missing."""


class Gathered:
    """A worker tells its measures at a socket in the folder that all share, and asks there for everyone's."""

    def __init__(self, registry: CollectorRegistry, worker: Worker) -> None:
        self._registry, self._worker = registry, worker

    async def tell(self) -> None:
        """Tell them to whoever asks, for as long as the server runs."""
        async with await anyio.create_unix_listener(self._socket(self._worker.number)) as listener:
            await listener.serve(self._told)

    async def all(self) -> bytes:
        """Everyone's, in Prometheus' format, each with the number of its worker."""
        texts: dict[int, str] = {}

        async def ask(number: int) -> None:
            with suppress(OSError), anyio.move_on_after(LONGEST):
                async with await anyio.connect_unix(self._socket(number)) as stream:
                    texts[number] = b"".join([piece async for piece in stream]).decode()

        async with anyio.create_task_group() as group:
            for number in range(1, self._worker.of + 1):
                group.start_soon(ask, number)
        return generate_latest(_Labelled({n: texts.get(n) for n in range(1, self._worker.of + 1)}))

    async def _told(self, stream: SocketStream) -> None:
        async with stream:
            with suppress(OSError, anyio.BrokenResourceError):
                await stream.send(generate_latest(self._registry))

    def _socket(self, number: int) -> Path:
        return self._worker.folder / f"{number}.sock"


@dataclass(frozen=True, slots=True)
class _Labelled:
    """What each worker told, None where it did not."""

    texts: Mapping[int, str | None]

    def collect(self) -> Iterable[Metric]:
        """Families, each with the samples of all."""
        up = GaugeMetricFamily("rag_worker_up", "Whether a worker tells its measures.", labels=["worker"])
        families: dict[str, Metric] = {}
        for number, text in self.texts.items():
            up.add_metric([str(number)], text is not None)
            for found in text_string_to_metric_families(text or ""):
                family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
                named = {"worker": str(number)}
                family.samples += [sample._replace(labels=sample.labels | named) for sample in found.samples]
        return [up, *families.values()]
