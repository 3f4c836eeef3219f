"""What every command shares: settings, options, and what it prints."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rag.settings import Settings

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
retriever_option = click.option(
    "--retriever", type=click.Choice(["hybrid", "dense", "bm25", "rank-bm25"]), help="Which passages are found how."
)


def _choose_engine(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj["flags"]["engine"] = value


ENGINES = click.Choice(["embedded", "milvus"])
engine_option = click.option(
    "--engine",
    type=ENGINES,
    expose_value=False,
    callback=_choose_engine,
    help="What keeps the index: its folder, by default, or Milvus (RAG_MILVUS_URI).",
)
generator_option = click.option(
    "--generator", type=click.Choice(["extractive", "llm"]), help="Whose words answer; those of the corpus by default."
)


def settings(ctx: click.Context, **flags: Any) -> Settings:
    """The settings, with the flags that were given (`search__k` is search.k). Raises SettingsError."""
    from rag.settings import read_settings

    names = {name.replace("__", "."): value for name, value in flags.items()}
    return read_settings(ctx.obj["config"], os.environ, ctx.obj["flags"] | names)


def print_json(value: object, *, one_line: bool = False) -> None:
    """One JSON value on stdout, in characters that its encoding has; what is no number (NaN) is null."""
    encoding = (sys.stdout.encoding or "utf-8").lower()
    ascii_only, indent = not encoding.startswith("utf"), None if one_line else 2
    click.echo(json.dumps(_finite(value), ensure_ascii=ascii_only, indent=indent, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def say(text: str) -> None:
    """A line on stderr."""
    click.echo(one_line(text), err=True)


def one_line(text: str) -> str:
    r"""Text whose characters that no line can show, such as a file name's line break, are written as Python would.

    >>> one_line("a\nb")
    'a\\nb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def progress(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """The items, with a bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    return track(
        items,
        total=total,
        description=what,
        console=Console(stderr=True),
        transient=True,
        disable=not (sys.stderr and sys.stderr.isatty()),
    )


def console() -> Any:
    """Where a command's text goes: no markup, no guesses."""
    from rich.console import Console

    return Console(emoji=False, markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())


@contextmanager
def until_stopped() -> Iterator[None]:
    """The block ends at Ctrl-C or SIGTERM, and what follows is not disturbed by a second one."""
    both = (signal.SIGINT, signal.SIGTERM)
    try:
        for which in both:
            signal.signal(which, signal.default_int_handler)
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for which in both:
            signal.signal(which, signal.SIG_IGN)
