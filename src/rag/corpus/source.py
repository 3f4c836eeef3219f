"""A folder -> the files to read, in order, and their bytes -> text."""

from __future__ import annotations

import os
import shlex
import stat
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rag.errors import CorpusError, UserError

MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """A file and its bytes: `path` as errors show it, `below` the root in posix form ("reviews/rl.md").

    `folder` is the first folder below the root, or for files at the top the root's own name.
    """

    path: str
    below: str
    folder: str
    data: bytes

    @property
    def id(self) -> str:
        """`below` without its suffix."""
        return PurePosixPath(self.below).with_suffix("").as_posix()

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return PurePosixPath(self.below).stem

    @property
    def suffix(self) -> str:
        """In lower case, with its dot."""
        return PurePosixPath(self.below).suffix.lower()


def sources(
    root: Path, suffixes: Collection[str], report: Callable[[CorpusError], None], apart: Path | None = None
) -> Iterator[Source]:
    """Files with one of the suffixes, sorted by posix path below the root; a bad one is reported and left out.

    Links are followed to files below the root only. Raises UserError where the root is missing or has no such file.
    """
    if not root.exists():
        raise UserError(f"{root}: no such file or folder; looked for documents in {Path.cwd()}; give a corpus folder")
    top = root if root.is_dir() else root.parent
    wanted = names(root, suffixes, report, apart)
    if not wanted:
        looked = ", ".join(sorted(suffixes))
        raise UserError(f"{root}: no document here; looked for files ending in {looked}; give a folder that has some")
    for below in wanted:
        path = (top / below).as_posix()
        first, *rest = below.split("/")
        try:
            yield Source(path, below, first if rest else top.resolve().name, _read(top, below, outside=root.is_file()))
        except CorpusError as error:
            report(error)


def names(
    root: Path,
    suffixes: Collection[str],
    report: Callable[[CorpusError], None] = lambda _: None,
    apart: Path | None = None,
) -> list[str]:
    """Files with one of the suffixes, as sorted posix paths below the root, or the root's own name where it is a file.

    Dot-files, dot-folders and README.* are passed over, and so is the index, `apart`.
    """
    found = sorted(_names(root, report, apart and apart.resolve())) if root.is_dir() else [root.name]
    return [name for name in found if PurePosixPath(name).suffix.lower() in suffixes]


def _names(root: Path, report: Callable[[CorpusError], None], apart: Path | None) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        report(CorpusError(str(error.filename), 1, f"cannot list the folder: {error.strerror}", "mend its permissions"))

    for folder, folders, files in os.walk(root, onerror=unreadable):
        at = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if apart is not None:
            folders[:] = [name for name in folders if apart not in (at.resolve(), (at / name).resolve())]
        for name in folders:
            if (at / name).is_symlink() and not _inside(at / name, root):
                report(_leads_out((at / name).as_posix()))
        for name in files:
            if not name.startswith(".") and not name.lower().startswith("readme."):
                yield (at / name).relative_to(root).as_posix()


def _inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # leads nowhere, or round in a circle
        return False


def _leads_out(path: str) -> CorpusError:
    return CorpusError(path, 1, "a link that leads out of the corpus, or nowhere", "put a copy in its place")


def _read(root: Path, below: str, *, outside: bool) -> bytes:
    path = root / below
    shown = path.as_posix()
    try:
        below.encode()
    except UnicodeEncodeError:
        shown = shown.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise CorpusError(shown, 1, "the file's name is not UTF-8", "rename it") from None
    if path.is_symlink() and not outside and not _inside(path, root):
        raise _leads_out(shown)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
            raise CorpusError(shown, 1, "not a regular file", "remove it from the corpus")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CorpusError(shown, 1, f"cannot be read: {error.strerror}", "mend its permissions") from error
    if len(data) > MAX_BYTES:
        raise CorpusError(shown, 1, f"larger than {MAX_BYTES // 2**20} MiB", "split it into smaller files")
    return data


def newlines(text: str) -> str:
    r"""Every line ends in a line feed; nothing else changes.

    >>> newlines("a\r\nb\rc\n")
    'a\nb\nc\n'
    """
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes, path: str) -> str:
    r"""UTF-8, or UTF-16 by its byte-order mark, to text with LF line ends and no mark. `path` is for the error.

    >>> decode(b"\xef\xbb\xbfa\r\nb", "a.md")
    'a\nb'
    >>> decode(b"one\ncaf\xe9", "b.md")
    Traceback (most recent call last):
    rag.errors.CorpusError: b.md:2: byte 0xe9 is not UTF-8; iconv -f WINDOWS-1252 -t UTF-8 b.md > b.md.utf8
    """
    encoding = "utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8"
    data = data.removeprefix(BOM_UTF8)
    try:
        text = newlines(data.decode(encoding))
    except UnicodeDecodeError as error:
        line = newlines(data[: error.start].decode(encoding, "replace")).count("\n") + 1
        known = "UTF-16" if encoding == "utf-16" else "WINDOWS-1252"
        mend = f"iconv -f {known} -t UTF-8 {shlex.quote(path)} > {shlex.quote(path + '.utf8')}"
        found = f"byte 0x{data[error.start]:02x} is not {encoding.upper()}"
        raise CorpusError(path, line, found, mend) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise CorpusError(path, line, "a NUL byte: this is no text", "remove the file, or export it as UTF-8 text")
    if not text.strip():
        raise CorpusError(path, 1, "the file is empty", "write its text, or remove it")
    return text
