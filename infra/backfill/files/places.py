"""Where files are: a path, a glob, a directory, or any URL that fsspec knows."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from head_worker.store import S3_OPTIONS
from topology.errors import HeadraceError, Misconfigured, Unavailable
from topology.pacing import PACING
from topology.wire import LAST_US

KINDS = {
    ".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
}
PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}  # texts; Parquet compresses by itself
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")  # as file systems call it
SETTLED = (
    FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError,
    NotImplementedError,
)


@dataclass(frozen=True)
class File:
    """One file. `identity` is another one once it was written anew; `modified_us` is 0 where nobody tells."""

    name: str
    identity: str
    modified_us: int


def required(package: str) -> Any:
    """The module of an optional package. Raises: Misconfigured."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise Misconfigured(f"{error}; pip install 'headrace[backfill]' brings what files need") from error


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Every file system has errors of its own. Raises: Misconfigured where trying again does not help; Unavailable."""
    try:
        yield
    except HeadraceError:
        raise
    except Exception as error:
        told = f"{name}: {type(error).__name__}: {error}"
        read_only = isinstance(error, OSError) and error.errno in (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)
        if read_only or isinstance(error, SETTLED) or "Credentials" in type(error).__name__:
            raise Misconfigured(told) from error
        raise Unavailable(told) from error


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a path or URL, and the path in it. Raises: Misconfigured."""
    core = required("fsspec").core
    with reaching(url):
        fs, path = core.url_to_fs(url, **(S3_OPTIONS if url.startswith(("s3://", "s3a://")) else {}))
        return fs, path


def is_local(fs: Any) -> bool:
    """Whether it is this machine's own."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def kind_of(name: str) -> str:
    """`json`, `csv` or `parquet`, by the end of the name; empty for any other. A compressed text is a text."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes[-2:]]
    if suffixes and suffixes[-1] in PACKED:
        kind = KINDS.get(suffixes[-2], "") if len(suffixes) > 1 else ""
        return "" if kind == "parquet" else kind
    return KINDS.get(suffixes[-1], "") if suffixes else ""


def find(source: str) -> list[str]:
    """The names of the files, sorted. Names that begin with a dot or `_` in a directory are left out.

    Raises: Misconfigured where there is none, or one of a kind that is not read; Unavailable.
    """
    fs, path = file_system(source)
    with reaching(source):
        fs.invalidate_cache()
        try:
            kind = fs.info(path)["type"]
        except FileNotFoundError:
            kind = "glob"
        within = {path: {"type": kind}} if kind == "file" else {}
        if kind in ("glob", "directory"):
            within = (fs.glob if kind == "glob" else fs.find)(path, detail=True)
        found = [at for at, info in within.items() if info["type"] == "file" and not _hidden(at, path)]
        names = sorted(at if is_local(fs) else fs.unstrip_protocol(at) for at in found)
    kinds = f"JSON lines, CSV or Parquet are wanted ({' '.join(KINDS)}; texts also as {' '.join(PACKED)})"
    if not names:
        raise Misconfigured(f"source {source!r}: no file is there; {kinds}")
    if other := [name for name in names if not kind_of(name)]:
        raise Misconfigured(f"{other[0]}: {kinds}; choose by a glob, as in '*.csv'")
    return names


def _hidden(at: str, root: str) -> bool:
    """As Spark and Arrow have it: `_SUCCESS`, `.part-0.crc`."""
    below = "" if at == root else at[len(root):] if at.startswith(root) else PurePosixPath(at).name
    return at.endswith("/") or any(step[0] in "._" for step in below.split("/") if step)


def look(name: str) -> File:
    """The file as it is now. Raises: Misconfigured where it is none, Unavailable."""
    fs, path = file_system(name)
    with reaching(name):
        fs.invalidate_cache()
        info = fs.info(path)
        if info["type"] != "file":
            raise Misconfigured(f"{name}: it is no regular file")
        modified_us = _microseconds(next((info[key] for key in TIMES if info.get(key)), 0))
        etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
        told = (f"{info.get('size')} bytes", f"{modified_us} us" if modified_us else "", etag)
        return File(name, ", ".join(part for part in told if part), modified_us)


def _microseconds(time: object) -> int:
    if isinstance(time, datetime):
        time = time.timestamp()
    return min(max(round(time * 1e6), 0), LAST_US) if isinstance(time, int | float) else 0


def open_file(name: str) -> Any:
    """A binary file to read from, unpacked where it is a compressed text. Raises: Misconfigured, Unavailable."""
    fs, path = file_system(name)
    with reaching(name):
        cached = {"maxblocks": PACING.file_fetches_kept} if kind_of(name) == "parquet" else {}
        file = fs.open(
            path, "rb", block_size=PACING.file_fetch_bytes, cache_options=cached,
            cache_type="blockcache" if cached else "readahead",  # columns lie apart, lines do not
        )
        packed = PACKED.get(PurePosixPath(name).suffix.lower())
        if packed is None:
            return file
        if packed == "zstd":
            pyarrow = required("pyarrow")
            return pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd")
        return required("fsspec.compression").compr[packed](file, mode="rb")
