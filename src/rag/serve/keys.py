"""Who may ask: requests that bear one of the keys in a file, which is read again whenever it changes.

A line of the file is `NAME SHA256HEX`. Keys are 256 random bits (`rag keys FILE NAME`), not passwords that somebody
thought of, so a plain digest is as hard to turn back as a slow one, and costs a request nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import secrets
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.errors import UserError
from rag.serve.problems import problem

OPEN = frozenset({"/healthz", "/readyz"})
"""What anyone may ask: whatever watches the process has no key."""
BEARER = "rag.key"
"""Where the scope of a request has the name of its key."""
MOST = 10_000
"""Keys that a file may hold."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger("rag.serve")


class NoKeys(UserError):
    """The file is not there, may not be read, or holds no key."""


def read_keys(file: Path) -> dict[str, str]:
    """The digest of every key, in hexadecimal, by its name. Raises UserError; NoKeys where there is none to be had."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        kind = NoKeys if isinstance(error, OSError) else UserError
        raise kind(f"{file}: the keys cannot be read ({error}); `rag keys {file} NAME` makes one") from error
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, digest = line.strip().partition(" ")
        # What is found is not repeated: it may be a key that somebody put there plain.
        if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(digest):
            raise UserError(f"{file}:{number}: this is no `NAME SHA256HEX`; `rag keys {file} NAME` writes such a line")
        if name in keys:
            raise UserError(f"{file}:{number}: a second key named {name!r}; give each its own name")
        keys[name] = digest
    if not keys or len(keys) > MOST:
        kind = UserError if keys else NoKeys
        raise kind(f"{file}: holds {len(keys)} keys, wanted 1 to {MOST}; `rag keys {file} NAME` adds one")
    return keys


def add_key(file: Path, name: str) -> str:
    """A new key, whose digest is added to the file; nobody can read it there again. Raises UserError."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot name a key; write 1 to 64 letters, digits, dots, dashes or underscores")
    there = file.exists() and file.stat().st_size > 0
    if there and name in read_keys(file):
        raise UserError(f"{file}: has a key named {name!r}; remove its line first, or give another name")
    key = secrets.token_urlsafe(32)
    whole = not there or file.read_bytes().endswith(b"\n")
    line = f"{'' if whole else os.linesep}{name} {_digest(key)}\n"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as out:
        out.write(line)
    return key


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """The keys of a file, as it stands. Raises UserError where it holds none at first."""

    def __init__(self, file: Path) -> None:
        self._file, self._seen = file, _signature(file)
        self._digests = read_keys(file)

    def whose(self, key: str | None) -> str | None:
        """The name of a key. All are compared, each in constant time, so that the clock tells nothing."""
        self._read_again()
        digest, found = _digest(key or ""), None
        for name, wanted in self._digests.items():
            if hmac.compare_digest(digest, wanted) and key:
                found = name
        return found

    def _read_again(self) -> None:
        signature = _signature(self._file)
        if signature == self._seen:
            return
        self._seen = signature
        try:
            self._digests = read_keys(self._file)
        except NoKeys as error:  # whoever takes all of them away means it
            self._digests = {}
            _log.error("%s; until then nobody is answered", error)
        except UserError as error:  # an editor may be half way; to lock everyone out would be the greater harm
            _log.error("%s (the keys read before still hold)", error)


class Keyed:
    """Refuses a request without a key (401), and tells those behind whose key it was, as `scope[BEARER]`.

    The key is a bearer token, or the password of HTTP Basic, for which browsers have a dialogue; any user name does.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        name = self._keys.whose(_given(Headers(scope=scope).get("authorization", "")))
        if name is None:
            refusal = problem(
                401,
                "this server answers those who have a key; send it as `Authorization: Bearer KEY`",
                {"www-authenticate": 'Basic realm="podcast-rag", charset="UTF-8", Bearer', "cache-control": "no-store"},
            )
            await refusal(scope, receive, send)
        else:
            scope[BEARER] = name
            await self._app(scope, receive, send)


def _signature(file: Path) -> tuple[int, int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino  # its rights change the second alone


def _given(authorization: str) -> str | None:
    """The key that a header holds.

    >>> _given("Bearer abc"), _given("basic " + base64.b64encode(b"any:abc").decode()), _given("Digest abc")
    ('abc', 'abc', None)
    """
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None
