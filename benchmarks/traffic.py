"""Requests of every kind, by chance, and what each response has to be."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx


class Wrong(Exception):
    """A response that must not be."""


@dataclass
class Seen:
    """What became of some requests, by kind; `took` is in milliseconds, of questions that were answered one by one."""

    counts: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)
    generations: Counter[str] = field(default_factory=Counter)


def checked(answer: Any, seen: Seen) -> None:
    """An answer holds together, and names the index that it came from. Raises Wrong."""
    try:
        seen.generations[answer["index"]["generation"]] += 1
        if answer["abstained"] == bool(answer["sentences"]) or answer["abstained"] != bool(answer["reason"]):
            raise Wrong("an answer that neither abstains nor answers")
        for sentence in answer["sentences"]:
            episodes = {name for each in sentence["evidence"] for name in each["episodes"]}
            if not sentence["text"] or not sentence["evidence"] or not set(sentence["citations"]) <= episodes:
                raise Wrong("a sentence without its evidence")
            if any(each["end"] - each["start"] != len(each["quote"]) for each in sentence["evidence"]):
                raise Wrong("a quote that is not as long as it says")
    except (KeyError, TypeError) as error:
        raise Wrong(f"a malformed answer ({error!r})") from error


def told(response: httpx.Response, wanted: set[int]) -> bool:
    """Whether a request was served, and not sent away in the way that it may be. Raises Wrong."""
    if response.status_code == 503 and response.headers.get("retry-after", "").isdecimal():
        return False
    if response.status_code not in wanted:
        raise Wrong(f"{response.request.method} {response.request.url.path}: {response.status_code}")
    return True


@dataclass
class Traffic:
    """Requests by chance, in fixed shares; what one of them finds wrong is raised as Wrong."""

    client: httpx.AsyncClient
    random: random.Random
    answerable: Sequence[str]
    unanswerable: Sequence[str]
    documents: Sequence[str]
    seen: Seen

    async def one(self) -> None:
        """A request of any kind."""
        kinds = {
            self._ask_what_is_there: 30,
            self._ask_what_is_not: 10,
            self._stream: 10,
            self._stream_and_leave: 8,
            self._search: 15,
            self._document: 8,
            self._page: 10,
            self._nonsense: 6,
            self._measures: 3,
        }
        kind = self.random.choices(list(kinds), list(kinds.values()))[0]
        self.seen.counts[kind.__name__.strip("_").replace("_", " ")] += 1
        await kind()

    async def _ask_what_is_there(self) -> None:
        await self.ask(self.random.choice(self.answerable))

    async def _ask_what_is_not(self) -> None:
        await self.ask(self.random.choice(self.unanswerable))

    async def ask(self, question: str, alone: bool = True) -> None:
        """A question; every second one is worded anew, so that its vector is not at hand."""
        if self.random.random() < 0.5:
            question = f"{question} ({self.random.randrange(10**6)})"
        began = time.perf_counter()
        response = await self.client.post("/v1/ask", json={"question": question})
        if not self._served(response):
            return
        checked(response.json(), self.seen)
        if alone:
            self.seen.took.append(1000 * (time.perf_counter() - began))

    async def _stream(self) -> None:
        body = {"question": self.random.choice(self.answerable), "stream": True}
        async with self.client.stream("POST", "/v1/ask", json=body) as response:
            if not self._served(response):
                return
            text = (await response.aread()).decode()
        events = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
        if events[:1] != ["hits"] or events[-1:] != ["done"]:
            raise Wrong(f"a stream of {events}")
        last = [line for line in text.splitlines() if line.startswith("data: ")][-1]
        checked(json.loads(last.removeprefix("data: ")), self.seen)

    async def _stream_and_leave(self) -> None:
        body = {"question": self.random.choice(self.answerable), "stream": True}
        async with self.client.stream("POST", "/v1/ask", json=body) as response:
            if self._served(response):
                async for _ in response.aiter_bytes(1):
                    break

    async def _search(self) -> None:
        k = self.random.randint(1, 50)
        response = await self.client.post("/v1/search", json={"query": self.random.choice(self.answerable), "k": k})
        if self._served(response) and not 0 < len(response.json()["hits"]) <= k:
            raise Wrong("no hits, or more than were asked for")

    async def _document(self) -> None:
        name = self.random.choice(self.documents)
        response = await self.client.get(f"/v1/documents/{name}")
        if self._served(response) and response.json()["id"] != name:
            raise Wrong("another document")

    async def _page(self) -> None:
        path = self.random.choice(["/", "/episodes", "/episodes/E026", "/documents", "/map", "/docs", "/?q="])
        query = {"q": self.random.choice(self.answerable)} if path == "/?q=" else {}
        response = await self.client.get(path.partition("?")[0], params=query, headers={"accept": "text/html"})
        if self._served(response) and not response.text.rstrip().endswith("</html>"):
            raise Wrong(f"a page cut short: {path}")

    async def _nonsense(self) -> None:
        method, path, body, wanted = self.random.choice(
            [
                ("POST", "/v1/ask", b"{", {400, 422}),
                ("POST", "/v1/ask", b'{"question": ""}', {422}),
                ("POST", "/v1/ask", b'{"question": "a", "unknown": 1}', {422}),
                ("POST", "/v1/ask", b'{"question": "\\ud800"}', {200, 400, 422}),
                ("POST", "/v1/ask", b'{"question": "what of it", "filters": {"episodes": ["E99999"]}}', {400}),
                ("POST", "/v1/search", b'{"query": "' + b"x" * 70_000 + b'"}', {413}),
                ("GET", "/v1/documents/../../etc/passwd", b"", {404}),
                ("GET", "/v1/episodes/E99999", b"", {404}),
                ("DELETE", "/v1/ask", b"", {405}),
            ]
        )
        headers = {"content-type": "application/json"}
        self._served(await self.client.request(method, path, content=body, headers=headers), wanted)

    async def _measures(self) -> None:
        path = self.random.choice(["/metrics", "/healthz", "/readyz"])
        self._served(await self.client.get(path))

    def _served(self, response: httpx.Response, wanted: set[int] | None = None) -> bool:
        served = told(response, wanted or {200})
        self.seen.counts["sent away"] += not served
        return served
