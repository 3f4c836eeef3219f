"""The index folder: generations and a manifest; whole or not at all.

index/
  CURRENT                  the name of the generation that serves, and its manifest's SHA-256; swapped by rename
  generations/NAME/        manifest.json, and the files it lists with their SHA-256
  .building-*/             a build under way, or one that was killed; the next build sweeps it out
  .lock                    held by the build that is writing
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from rag.errors import IndexBusy, IndexUnusable, IndexUnwritable
from rag.index.encode import EncoderCard

FORMAT = 4
MANIFEST = "manifest.json"
LARGE = 64 * 1024 * 1024
"""Bytes of a file that is not read whole to open an index: it is compared by its size, and by who has the time."""
FILES = frozenset(
    {"passages.jsonl", "passages.npy", "documents.jsonl", "documents.npy", "columns.npz", "names.json"}
    | {"keys.npy", "vectors.npy", "dense.faiss", "dense.npy", "bm25/meta.json"}
    | {"encoder/model.onnx", "encoder/tokenizer.json", "encoder/encoder.json"}
)
"""What every generation of this format has, beside the segments of its BM25; places.npy is there or not."""


_NO_FOLDER = "is no folder; give another with --index"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong with what an index file holds is IndexUnusable."""
    try:
        yield
    except (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"  # the repr of one holds all that was read
        raise IndexUnusable(f"{path} cannot be read ({found}); mend it with `rag index --rebuild`") from error


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation was built from and with; `files` maps each relative path to its SHA-256.

    `places` is the method that its passages were placed by in the plane, "" where they were not; `vectors` is how FAISS
    was told to keep them. `sizes` are the files' bytes.
    """

    generation: str
    corpus_digest: str
    encoder: EncoderCard
    max_chars: int
    min_chars: int
    titled: bool
    id_pattern: str
    sentence_vectors: bool
    documents: int
    passages: int
    sentences: int
    format: int = FORMAT
    files: Mapping[str, str] = field(default_factory=dict)
    places: str = ""
    vectors: str = "auto"
    sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises IndexUnusable where it is unreadable, of another format, or lists too few files."""
        path = folder / MANIFEST
        with reading(path):
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise IndexUnusable(
                    f"{folder} has format {values['format']}, this version reads {FORMAT}; build it with `rag index`"
                )
            if missing := sorted(FILES - values["files"].keys()):
                raise IndexUnusable(f"{path} does not list {missing[0]}; mend it with `rag index --rebuild`")
            return cls(**values | {"encoder": EncoderCard(**values["encoder"])})


def built(generation: str) -> float | None:
    """When the build began that a generation is named by, in seconds since 1970, UTC; None where its name says no time.

    >>> built("20260531T120000-0da5f497-9543")
    1780228800.0
    """
    try:
        return datetime.strptime(generation.partition("-")[0] + "+0000", "%Y%m%dT%H%M%S%z").timestamp()
    except ValueError:
        return None


class IndexFolder:
    """Where generations live."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A fresh folder to build in, while no one else may; swept out again unless `publish` took it.

        Raises IndexBusy at once where another build holds the lock. The lock goes with its process, however that ends.
        What cannot be written below the index folder is IndexUnwritable.
        """
        from filelock import FileLock, Timeout

        if self.path.exists() and not self.path.is_dir():
            raise IndexUnwritable(f"{self.path} {_NO_FOLDER}")
        with _written(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            try:
                lock.acquire()
            except Timeout as error:
                raise IndexBusy(
                    f"another build is writing {self.path}; wait until it ends, then run it again"
                ) from error
            try:
                for left in self.path.glob(".building-*"):
                    shutil.rmtree(left, ignore_errors=True)
                building = Path(tempfile.mkdtemp(prefix=".building-", dir=self.path))
                try:
                    yield building
                finally:
                    shutil.rmtree(building, ignore_errors=True)
            finally:
                lock.release()

    def publish(self, building: Path, manifest: Manifest) -> Path:
        """Make a finished build the one that serves, read-only. A reader sees the old generation or this one."""
        manifest_of = asdict(manifest) | _files(building)
        (building / MANIFEST).write_text(json.dumps(manifest_of, indent=1) + "\n", encoding="utf-8")
        readers = (building / MANIFEST).stat().st_mode & 0o444  # tantivy would have whoever builds be the only one
        for path in (*building.rglob("*"), building):
            if path.is_file():
                mode = path.stat().st_mode | readers
                hidden = path.name.startswith(".")
                path.chmod(mode if hidden else mode & ~0o222)  # one cut in place would end whoever has it mapped
            _sync(path)
        generations = self.path / "generations"
        generations.mkdir(exist_ok=True)
        target = generations / manifest.generation
        try:
            before, _ = self._current_name()
        except IndexUnusable:  # a damaged one is what this build mends
            before = None
        building.chmod(0o755)
        building.rename(target)
        temporary = self.path / ".CURRENT"
        try:
            _sync(generations)
            temporary.write_text(f"{manifest.generation} {_sha256(target / MANIFEST)}\n", encoding="utf-8")
            _sync(temporary)
            temporary.replace(self.path / "CURRENT")
        except BaseException:
            temporary.unlink(missing_ok=True)
            shutil.rmtree(target, ignore_errors=True)  # or each build on a full disk would fill it further
            raise
        _sync(self.path)
        for old in generations.iterdir():  # the one before stays, for whoever is opening it right now
            if old.name not in (manifest.generation, before):
                shutil.rmtree(old, ignore_errors=True)
        return target

    def current(self) -> tuple[Path, Manifest]:
        """The generation that serves. Raises IndexUnusable where there is none."""
        name, wanted = self._current_name()
        if name is None:
            raise IndexUnusable(f"{self.path} holds no index; build it with `rag index`")
        folder = self.path / "generations" / name
        if wanted:
            _compare(folder / MANIFEST, wanted)
        return folder, Manifest.read(folder)

    def token(self) -> object:
        """Another one whenever another generation serves; cheap."""
        try:
            return (self.path / "CURRENT").read_bytes()
        except OSError:
            return None

    def checked(self, *, whole: bool = True) -> tuple[Path, Manifest]:
        """The generation that serves, every file as its manifest has it; `LARGE` ones by size unless `whole`.

        Raises IndexUnusable.
        """
        before = self.token()
        try:
            return self._checked(whole)
        except IndexUnusable:
            if self.token() == before:
                raise
            return self._checked(whole)  # builds published while we read, and swept away what we were reading

    def _checked(self, whole: bool) -> tuple[Path, Manifest]:
        folder, manifest = self.current()
        verify(folder, manifest, whole=whole)
        return folder, manifest

    def left(self) -> list[Path]:
        """What builds that have not ended, or were killed, hold in the folder."""
        return sorted(self.path.glob(".building-*"))

    def busy(self) -> bool:
        """Whether a build is writing now. Looks at the lock for a moment, and writes nothing."""
        import fcntl

        try:
            handle = os.open(self.path / ".lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _current_name(self) -> tuple[str | None, str]:
        """The generation, None where there is none, and its manifest's SHA-256; "" where an older build named none."""
        try:
            name, _, digest = (self.path / "CURRENT").read_text(encoding="utf-8").strip().partition(" ")
        except FileNotFoundError:
            return None, ""
        except NotADirectoryError as error:
            raise IndexUnusable(f"{self.path} {_NO_FOLDER}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise IndexUnusable(
                f"{self.path / 'CURRENT'} cannot be read ({error}); run `rag index --rebuild`"
            ) from error
        if not name or "/" in name or name.startswith("."):
            raise IndexUnusable(
                f"{self.path / 'CURRENT'} names {name!r}, wanted a generation; run `rag index --rebuild`"
            )
        return name, digest


_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def verify(folder: Path, manifest: Manifest, *, whole: bool) -> None:
    """Raise IndexUnusable where a file is not as the manifest has it; of `LARGE` ones, unless `whole`, by its size."""
    for error in damages(folder, manifest, whole=whole):
        raise error


def damages(folder: Path, manifest: Manifest, *, whole: bool) -> Iterator[IndexUnusable]:
    """What `verify` raises, of every file."""
    for name, wanted in manifest.files.items():
        path, expected = folder / name, manifest.sizes.get(name, 0)
        if whole or expected < LARGE or not path.exists() or path.stat().st_size != expected:
            try:
                _compare(path, wanted)
            except IndexUnusable as error:
                yield error


def _files(folder: Path) -> dict[str, dict[str, str] | dict[str, int]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and p.name != MANIFEST)
    names = [p.relative_to(folder).as_posix() for p in files]
    return {
        "files": dict(zip(names, map(_sha256, files), strict=True)),
        "sizes": {name: p.stat().st_size for name, p in zip(names, files, strict=True)},
    }


@contextmanager
def _written(index: Path) -> Iterator[None]:
    """What cannot be written in the index folder is IndexUnwritable; other errors pass.

    An error that names no file is the index's where it is of a kind that only a disk makes: a pipe that nobody reads is
    none.
    """
    try:
        yield
    except OSError as error:
        what, why = error.filename, error.strerror or str(error)
        if isinstance(error, shutil.Error):  # of several files; the first says enough
            _, what, why = error.args[0][0]
        if isinstance(what, (str, Path)):
            path, top = Path(what).absolute(), index.absolute()
            if not path.is_relative_to(top):
                raise
            where = "" if path == top else f"{path.relative_to(top)}: "
        elif error.errno in _OF_A_DISK:
            where = ""
        else:
            raise
        raise IndexUnwritable(
            f"{index} cannot be written ({where}{why}); make room there, or give another folder with --index, and run "
            "`rag index` again; what served before still serves"
        ) from error


def _compare(path: Path, wanted: str) -> None:
    """Raises IndexUnusable where a file is not what its SHA-256 says."""
    try:
        found = _sha256(path)
    except PermissionError as error:
        raise IndexUnusable(
            f"{path} cannot be read ({error.strerror}); let whoever asks read it, or build it as who asks with "
            "`rag index --rebuild`"
        ) from error
    except OSError as error:
        raise IndexUnusable(f"{path} is missing ({error.strerror}); mend it with `rag index --rebuild`") from error
    if found != wanted:
        raise IndexUnusable(
            f"{path} is damaged: SHA-256 {found[:12]}…, wanted {wanted[:12]}…; mend it with `rag index --rebuild`"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
