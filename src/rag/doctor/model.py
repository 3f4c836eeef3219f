"""The language model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from rag.doctor.finding import Finding
from rag.doctor.installation import Installation
from rag.errors import UserError

SECONDS = 15.0
"""That an endpoint is given to begin its answer."""


def model(installation: Installation) -> Iterator[Finding]:
    """What is configured; it is asked for a word only where that is allowed."""
    from rag.settings import NO_MODEL

    llm = installation.settings.llm
    if llm.base_url:
        where = urlsplit(llm.base_url)
        name, module, extra = f"{llm.model} at {where.hostname}", "openai", "llm"
        if where.scheme == "http" and llm.api_key and not _near(where.hostname or ""):
            yield Finding("info", f"the key goes to {where.hostname} over plain http", "RAG_LLM_BASE_URL=https://…")
    elif llm.gguf:
        name, module, extra = llm.gguf, "llama_cpp", "local"
        if llm.gguf != "smollm2" and not Path(llm.gguf).is_file():
            raise UserError(f"{llm.gguf} is no file; set RAG_LLM_GGUF to the GGUF file of a chat model")
    elif installation.settings.generator == "llm":
        raise UserError(NO_MODEL)
    else:
        yield Finding("ok", "none is configured, none is ever called")
        return
    if find_spec(module) is None:
        raise UserError(f"{name} needs the extra {extra}; pip install 'podcast-rag[{extra}]'")
    if installation.ask_model:
        yield _asked(installation, name)
    else:
        yield Finding("info", f"{name} is configured, and was not asked", "`rag doctor --model` asks it for a word")


def _asked(installation: Installation, name: str) -> Finding:
    """Raises RagError where nothing comes, in our words: an endpoint's own may hold anything."""
    from msgspec.structs import replace

    from rag.assemble import open_generator
    from rag.records import Message

    chosen = installation.settings
    bounded = {"timeout": min(chosen.llm.timeout, SECONDS), "retries": 0}
    generator = open_generator(replace(chosen, llm=replace(chosen.llm, **bounded)))
    if generator is None:
        raise UserError("no model opened")
    began = perf_counter()
    with closing(generator.stream([Message("user", "Say yes.")], 16, lambda: False)) as pieces:
        began_with = next(iter(pieces), None)
    if began_with is None:
        return Finding("warning", f"{name} answered nothing", "ask it directly; it may not be a chat model")
    return Finding("ok", f"{name} answered in {perf_counter() - began:.1f} s")


def _near(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
