"""Python and packages."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import TYPE_CHECKING

from rag.doctor.finding import Finding
from rag.doctor.installation import Installation

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "podcast-rag"
EXTRAS = {
    "build": "exporting an encoder, once a model",
    "llm": "a language model behind an endpoint",
    "local": "a language model in this process",
    "mcp": "serving MCP clients",
    "milvus": "an index kept by Milvus",
    "otel": "`rag serve --traces`",
    "watch": "`rag index --watch`",
}
COMPILED = ("pydantic", "numpy", "lxml.etree", "msgspec", "onnxruntime", "tokenizers", "faiss", "tantivy")
"""Modules that a system may refuse to load though they are installed."""


def python(_: Installation) -> Iterator[Finding]:
    """The version that the package asks for."""
    from packaging.specifiers import SpecifierSet

    found, wanted = platform.python_version(), metadata(DISTRIBUTION)["Requires-Python"]
    if SpecifierSet(wanted).contains(found, prereleases=True):
        yield Finding("ok", found)
    else:
        yield Finding("broken", f"{found}, wanted {wanted}", "install again with such a Python: python -m venv .venv")


def packages(_: Installation) -> Iterator[Finding]:
    """What every question needs."""
    try:
        lacking = _lacking("")
    except PackageNotFoundError:
        yield Finding("broken", f"{DISTRIBUTION} itself is not installed", "pip install . where its pyproject.toml is")
        return
    except ImportError:
        lacking = {"packaging": "no packaging"}
    if lacking:
        yield Finding("broken", ", ".join(lacking.values()), _install(*lacking))
    else:
        yield Finding("ok", f"{DISTRIBUTION} {version(DISTRIBUTION)}, with all that a question needs")


def extras(installation: Installation) -> Iterator[Finding]:
    """What else may be used; of a language model's, `model` says whether it is wanted."""
    wanted = {"otel"} if installation.settings.serve.traces else set()
    lacking = {extra: _lacking(extra) for extra in EXTRAS}
    yield Finding("ok", ", ".join(extra for extra in EXTRAS if not lacking[extra]) or "none")
    for extra, missing in lacking.items():
        said = ", ".join(missing.values())
        if any(not one.startswith("no ") for one in missing.values()):  # it was meant to be there
            yield Finding("warning", f"{extra}, which is for {EXTRAS[extra]}: {said}", _install(*missing))
        elif missing:
            found = f"without {extra} ({said}), which is for {EXTRAS[extra]}"
            yield Finding("broken" if extra in wanted else "info", found, _install(f"{DISTRIBUTION}[{extra}]"))


def imports(_: Installation) -> Iterator[Finding]:
    """Whether what is compiled loads on this system."""
    wrong = False
    for module in COMPILED:
        try:
            import_module(module)
        except Exception as error:  # a library that is not for this system fails in ways of its own
            name = {"lxml.etree": "lxml", "faiss": "faiss-cpu"}.get(module, module)
            mend = f"add the library that it names, or: {_install('--force-reinstall', name)}"
            if isinstance(error, ModuleNotFoundError) and error.name:
                if error.name == module.partition(".")[0]:
                    continue  # it is missing, as `packages` says
                mend = _install(error.name.partition(".")[0])
            wrong = True
            yield Finding("broken", f"{module} does not load ({type(error).__name__}: {error})", mend)
    if not wrong:
        yield Finding("ok", "what is compiled loads")


def torch(installation: Installation) -> Iterator[Finding]:
    """Only what exports an encoder needs it."""
    try:
        yield Finding("ok", f"{version('torch')}; only `rag index` uses it, to export an encoder")
    except PackageNotFoundError:
        if installation.serves:
            yield Finding("info", "not installed; needed only to export another encoder than the index has")
        else:
            mend = f"{_install(f'{DISTRIBUTION}[build]')}, or copy an index from where it is"
            yield Finding("warning", "not installed, and the first `rag index` needs it", mend)


def _lacking(extra: str) -> dict[str, str]:
    """What is not as the package asks for, with what is wrong: of an extra, or "" for what is always needed."""
    from packaging.requirements import Requirement

    wanted = map(Requirement, requires(DISTRIBUTION) or ())
    return {_spelled(one): said for one in wanted if _belongs(one, extra) and (said := _wrong(one))}


def _belongs(requirement: Requirement, extra: str) -> bool:
    def holds(extra: str) -> bool:
        return requirement.marker is None or requirement.marker.evaluate({"extra": extra})

    return holds("") if not extra else holds(extra) and not holds("")


def _wrong(requirement: Requirement) -> str:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"no {requirement.name}"
    fits = requirement.specifier.contains(found, prereleases=True)
    return "" if fits else f"{requirement.name} {found}, wanted {requirement.specifier}"


def _spelled(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _install(*what: str) -> str:
    from shlex import quote

    return f"pip install {' '.join(map(quote, what))}"
