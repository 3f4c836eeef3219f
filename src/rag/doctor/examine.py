"""Every check, in the order that it is told in."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rag.doctor import configuration, index, machine, model, software
from rag.doctor.finding import Finding, told
from rag.doctor.installation import Installation
from rag.errors import RagError


@dataclass(frozen=True, slots=True)
class Check:
    """A name, which stays as it is, and what gives findings; it waits until no check that it `needs` finds a fault."""

    name: str
    run: Callable[[Installation], Iterator[Finding]]
    needs: tuple[str, ...] = ()


WHOLE = ("index", "files", "built-with")
OPENED = (*WHOLE, "opens")
CHECKS = (
    Check("packages", software.packages),
    Check("imports", software.imports),
    Check("python", software.python),
    Check("extras", software.extras),
    Check("torch", software.torch),
    Check("settings", configuration.settings),
    Check("keys", configuration.keys),
    Check("model", model.model),
    Check("corpus", index.corpus),
    Check("index", index.index),
    Check("files", index.files, ("index",)),
    Check("built-with", index.built_with, ("index",)),
    Check("opens", index.opens, WHOLE),
    Check("behind", index.behind, ("corpus", *OPENED)),
    Check("map", index.places, OPENED),
    Check("builds", index.builds),
    Check("writable", machine.writable),
    Check("disk", machine.disk),
    Check("memory", machine.memory, ("index",)),
    Check("open-files", machine.open_files),
    Check("port", machine.port),
    Check("question", index.question, OPENED),
)


def examine(installation: Installation) -> Iterator[tuple[str, Finding]]:
    """The name of each check with what it finds, one at a time; one that fails is a finding, and the others go on.

    Writes nothing, and asks nothing of any network but a Milvus that keeps the index, unless the installation allows to
    ask its model.
    """
    broken = set[str]()
    for check in CHECKS:
        for finding in _safely(check, installation, broken):
            if finding.grade == "broken":
                broken.add(check.name)
            yield check.name, finding


def _safely(check: Check, installation: Installation, broken: set[str]) -> Iterator[Finding]:
    if first := next((need for need in check.needs if need in broken), None):
        yield Finding("info", f"not examined while {first} is broken")
        return
    try:
        yield from check.run(installation)
    except RagError as error:
        yield told(error)
    except ImportError as error:
        if broken & {"packages", "imports"}:
            yield Finding("info", f"not examined while packages are broken ({error})")
        else:
            yield Finding("broken", f"a package does not load ({error})", "install it again")
    except OSError as error:
        at = f"{error.filename}: " if error.filename else ""
        yield Finding("broken", f"{at}{error.strerror or error}", "mend its permissions, or its disk")
    except Exception as error:  # the doctor outlives what it examines
        last = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        yield Finding("broken", f"the check itself failed ({at})", "report it as a defect")
