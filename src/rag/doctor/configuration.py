"""Settings, and the files that they name."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from rag.doctor.finding import Finding, told
from rag.doctor.installation import Installation

if TYPE_CHECKING:
    from rag.errors import SettingsError


def settings(installation: Installation) -> Iterator[Finding]:
    """The file and the environment; what is wrong is named, and the rest is examined with defaults in its place."""
    from rag.settings import PREFIX, setting_of

    chosen, wrong = installation.read
    file = installation.config or Path("rag.toml")
    for error in wrong:
        finding = told(error)
        yield Finding(finding.grade, finding.found, finding.mend or _mend(error, file, installation))
    read = sorted(name for name in installation.environment if name.startswith(PREFIX))
    if not wrong:
        yield Finding("ok", ", ".join([str(file) if file.exists() else f"no {file}", *read]))
    if chosen.llm.api_key and "llm.api_key" not in map(setting_of, read) and (others := _others(file)):
        yield Finding("warning", f"{file} holds a key, and {others} by others than its owner", f"chmod 600 {file}")


def _mend(error: SettingsError, file: Path, installation: Installation) -> str:
    """Where the setting was given, and what it may have been meant to be."""
    from rag.settings import PREFIX, setting_names, setting_of

    given = [
        name
        for name in installation.environment
        if name.startswith(PREFIX) and f"{setting_of(name)}.".startswith(f"{error.setting}.")
    ]
    if not error.setting:
        return f"mend {file}"
    if error.setting in (names := setting_names()):
        return f"set another {given[0]}" if given else f"mend it in {file}"
    likely = get_close_matches(error.setting, names, n=1)
    meant = f"; did you mean {likely[0]}?" if likely else ""
    return (f"unset {given[0]}" if given else f"remove it from {file}") + meant


def keys(installation: Installation) -> Iterator[Finding]:
    """Of those who may ask: the file of `serve.keys`."""
    file = installation.settings.serve.keys
    if file is None:
        yield Finding("ok", "none wanted: `rag serve` answers whoever reaches it")
        return
    from rag.serve.keys import read_keys

    yield Finding("ok", f"{len(read_keys(file))} in {file}")
    if others := _others(file):
        yield Finding("warning", f"{file} {others} by others than its owner", f"chmod 600 {file}")


def _others(file: Path) -> str:
    """What others than the owner may do with a file, "" for nothing."""
    mode = file.stat().st_mode if file.exists() else 0
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written"
    return "can be read" if mode & stat.S_IROTH else ""
