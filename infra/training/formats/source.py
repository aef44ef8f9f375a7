"""Files, directories, archives and the standard input as texts, each read once, whatever its encoding."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from infra.training.formats.parquet import as_viewer, is_table
from infra.training.formats.placed_json import PlacedList, PlacedMap, line_of, parse
from infra.training.formats.unread import WORKBOOKS, what_bytes_are
from topology.errors import Misconfigured

MAX_FILES = 20_000  # of one directory or archive
MAX_BYTES = 1 << 30  # of all files together: more is no training data of a tenant, or an archive that unpacks for ever
SPLITS = {
    "train": "train", "training": "train", "dev": "dev", "val": "dev", "valid": "dev", "validate": "dev",
    "validation": "dev", "tune": "dev", "eval": "dev", "test": "test", "testing": "test",
    "trainset": "train", "testset": "test",
}
LANGUAGE = re.compile(r"^[a-z]{2}(?:[-_][A-Za-z]{2,4})?$")
UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}  # by the mark that such a file begins with
GZIP = b"\x1f\x8b"
STDIN = Path("-")
ROW_KEYS = {"text", "utt", "utterance", "tokens", "words", "sentence"}  # a map with one of them is a row, no document


@dataclass(frozen=True)
class Line:
    """A map of JSON, or why there is none. `number`: its line, from 1."""

    number: int
    body: dict[str, Any]
    fault: str = ""


@dataclass(frozen=True)
class Source:
    """One file. `name`: what messages call it; `inner`: its path below what was named; `place`: where it stands, if it
    is no archive's; `note`: what was odd about its encoding; `named`: whether its name may tell a language."""

    name: str
    inner: PurePosixPath
    text: str
    place: Path | None = None
    note: str = ""
    named: bool = True

    @cached_property
    def parsed(self) -> tuple[Any, str]:
        """(the JSON document or None, what is wrong with it as JSON)."""
        if self.text.lstrip()[:1] not in ("{", "["):
            return None, "it is no JSON"
        try:
            return parse(self.text), ""
        except ValueError as error:
            return None, str(error)

    @property
    def document(self) -> Any:
        """The JSON document; None where the file is something else, JSON lines included."""
        return self.parsed[0]

    @cached_property
    def lines(self) -> list[Line]:
        """The maps of a JSON list, or of JSON lines; empty where the file is neither."""
        document = self.document
        if isinstance(document, PlacedMap) and ROW_KEYS & set(document):
            return [Line(document.line, document)]
        if isinstance(document, PlacedList):
            maps = [(line_of(one), one if isinstance(one, dict) else {}) for one in document]
            found = [Line(line, one, "" if one else "a JSON map is wanted") for line, one in maps]
            return found if any(one.body for one in found) else []
        if document is not None or self.text.lstrip()[:1] != "{":
            return []
        found = [_line(number, line) for number, line in self.text_lines if line.strip()]
        return found if any(not one.fault for one in found) else []

    @cached_property
    def text_lines(self) -> list[tuple[int, str]]:
        """Lines with their numbers. Only \\n ends one, as in JSON lines: a text may hold U+2028 and its like."""
        return [(number, line.removesuffix("\r")) for number, line in enumerate(self.text.split("\n"), 1)]

    @property
    def split(self) -> str:
        """What the file's name says it is for: train, dev or test; train where it says nothing."""
        words = re.split(r"[^a-z]+", str(self.inner).lower())
        found = {SPLITS[word] for word in words if word in SPLITS}
        return found.pop() if len(found) == 1 else "train"

    @property
    def language(self) -> str:
        """A language's code beside the split in the file's name (`de.test.conll`); empty where there is none."""
        parts = self.inner.name.split(".")[:-1] or [self.inner.name]
        words = parts if len(parts) > 1 else re.split(r"[_.]", parts[0])
        others = [word for word in words if word.lower() not in SPLITS]
        is_named = self.named and len(others) == 1 and len(words) == 2 and LANGUAGE.match(others[0])
        return others[0] if is_named else ""

    def at(self, line: int, item: str = "") -> str:
        """A place in it, as messages name it."""
        return f"{self.name}:{line}" + (f", {item}" if item else "")


def _line(number: int, line: str) -> Line:
    try:
        body = json.loads(line)
    except ValueError as error:
        return Line(number, {}, f"not JSON: {error}")
    except RecursionError:
        return Line(number, {}, "not JSON: nested too deeply")
    return Line(number, body) if isinstance(body, dict) else Line(number, {}, "a JSON map is wanted")


def sources_of(place: Path, encoding: str = "") -> list[Source]:
    """The text files that `place` is or holds; `-` is the standard input. `encoding`: of files that are not UTF-8.

    Raises: Misconfigured where it cannot be read.
    """
    try:
        if place == STDIN:
            return [source_of(sys.stdin.buffer.read(MAX_BYTES), "stdin", PurePosixPath("stdin"), None, encoding)]
        if place.is_dir():
            return _within(place, encoding)
        if zipfile.is_zipfile(place):
            return list(_unpacked(place, encoding))
        body = place.read_bytes()
        if what := what_bytes_are(body, place.name):
            raise Misconfigured(f"{place}: not read here: it is {what}")
        return [source_of(body, str(place), PurePosixPath(place.name), place, encoding)]
    except OSError as error:
        raise Misconfigured(f"{place}: cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: it has a password
        raise Misconfigured(f"{place}: cannot be read: {error}") from error


def _within(folder: Path, encoding: str) -> list[Source]:
    found: list[Source] = []
    size = 0
    for place in sorted(folder.rglob("*")):
        inner = PurePosixPath(place.relative_to(folder).as_posix())
        if not place.is_file() or any(part.startswith((".", "__")) for part in inner.parts):
            continue
        size += place.stat().st_size
        if len(found) >= MAX_FILES or size > MAX_BYTES:
            raise Misconfigured(f"{folder}: more than {MAX_FILES:,} files or {MAX_BYTES >> 20:,} MB: name one below it")
        body = place.read_bytes()
        if _is_text(body):
            found.append(source_of(body, str(place), inner, place, encoding))
    return found


def _unpacked(place: Path, encoding: str) -> Iterator[Source]:
    with zipfile.ZipFile(place) as archive:
        members = [one for one in archive.infolist() if not one.is_dir()]
        if what := next((WORKBOOKS[one.filename] for one in members if one.filename in WORKBOOKS), ""):
            raise Misconfigured(f"{place}: not read here: it is {what}")
        if len(members) > MAX_FILES or sum(one.file_size for one in members) > MAX_BYTES:
            raise Misconfigured(f"{place}: more than {MAX_FILES:,} files or {MAX_BYTES >> 20:,} MB once unpacked")
        for member in sorted(members, key=lambda one: one.filename):
            inner = PurePosixPath(member.filename)
            if any(part.startswith((".", "__")) for part in inner.parts):
                continue
            if _is_text(body := archive.read(member)):
                yield source_of(body, f"{place}/{inner}", inner, None, encoding)


def source_of(body: bytes, name: str, inner: PurePosixPath, place: Path | None = None, encoding: str = "") -> Source:
    """The file as text: UTF-8 (with surrogate pairs too, as Java writes them), UTF-16, or `encoding`, unpacked where it
    is gzip; Parquet and Arrow as the JSON of their rows.

    A byte that is none of these stands in the text as half a surrogate pair, so that it costs its own row alone.

    Raises: Misconfigured where `encoding` is unknown or does not fit.
    """
    if body[:2] == GZIP:
        body = gzip.GzipFile(fileobj=io.BytesIO(body)).read(MAX_BYTES)
        inner = inner.with_suffix("") if inner.suffix == ".gz" else inner
    if is_table(body):
        return Source(name, inner, as_viewer(body, name), place)
    if wide := _utf16(body):
        return Source(name, inner, _ended(body.decode(wide, "replace").removeprefix("\ufeff")), place)
    try:
        return Source(name, inner, _ended(body.decode("utf-8-sig")), place)
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        fault = f"{name}:{line}: the byte 0x{body[error.start]:02x} is no UTF-8"
    try:
        pairs = body.decode("utf-8-sig", "surrogatepass").encode("utf-16-le", "surrogatepass")
        return Source(name, inner, _ended(pairs.decode("utf-16-le")), place, f"{name}:{line}: surrogate pairs in UTF-8")
    except UnicodeDecodeError:
        pass
    if not encoding:
        return Source(name, inner, _ended(body.decode("utf-8-sig", "surrogateescape")), place, fault)
    try:
        return Source(name, inner, _ended(body.decode(encoding)), place)
    except (LookupError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{fault}, and --encoding {encoding} does not fit: {error}") from error


def _is_text(body: bytes) -> bool:
    return b"\0" not in body[:4096] or bool(_utf16(body)) or is_table(body) or body[:2] == GZIP


def _utf16(body: bytes) -> str:
    """The codec of a file that is UTF-16, by its mark, or as every other byte of most letters is 0; else nothing."""
    start = body[:4096]
    for codec, zeros, letters in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
        if zeros and 2 * zeros.count(0) > len(zeros) and 0 not in letters:
            return codec
    return UTF16.get(body[:2], "")


def _ended(text: str) -> str:
    """Old Macintosh files end lines with \\r alone."""
    return text.replace("\r", "\n") if "\r" in text and "\n" not in text else text
