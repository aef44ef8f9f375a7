"""Secrets by reference: headrace.toml says where one is, and nothing here keeps or prints what it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from topology.errors import Misconfigured

FORMS = '"file:PATH" or "env:NAME"'
MAX_BYTES = 1 << 16  # a reference to a device or a wrong file ends here


@dataclass(frozen=True, repr=False)
class Secret:
    """Where a secret is: `file:PATH` or `env:NAME`. It is read each time a connection is set up, and never kept."""

    reference: str = ""

    def __bool__(self) -> bool:
        return bool(self.reference)

    def __repr__(self) -> str:
        return f"Secret({self.reference if wrong_reference(self.reference) is None else '…'})"

    def read(self) -> str:
        """The secret, without the line's end that editors leave in a file. Empty where there is no reference.

        Raises: Misconfigured, saying where it looked and never what it found.
        """
        if not self.reference:
            return ""
        if (wrong := wrong_reference(self.reference)) is not None:
            raise Misconfigured(wrong)
        kind, _, place = self.reference.partition(":")
        found = _of_file(place) if kind == "file" else os.environ.get(place)
        if found is None:
            raise Misconfigured(f"the environment has no {place}; set it, or refer to another")
        if not found:
            raise Misconfigured(f"{self.reference} is empty")
        try:
            found.encode()
        except UnicodeEncodeError:
            raise Misconfigured(f"{self.reference} is not UTF-8") from None
        return found

    def placed(self, folder: Path) -> Secret:
        """The same secret, its file taken from `folder` where its path is relative."""
        kind, _, place = self.reference.partition(":")
        return Secret(f"file:{folder / place}") if kind == "file" and place else self


NO_SECRET = Secret()


def _of_file(place: str) -> str:
    try:
        with Path(place).open("rb") as file:
            found = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Misconfigured(f"file {place} cannot be read: {error.strerror}") from None
    if len(found) > MAX_BYTES:
        raise Misconfigured(f"file {place} is over {MAX_BYTES} bytes: no secret is that long")
    try:
        return found.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Misconfigured(f"file {place} is not UTF-8") from None


def is_reference(text: str) -> bool:
    """Whether `text` refers to a secret instead of being a value."""
    return text.startswith(("file:", "env:"))


def wrong_reference(value: object) -> str | None:
    """What is wrong with a reference as it stands, without reading it and without repeating it; None where nothing."""
    if value == "":
        return None
    if not isinstance(value, str) or not is_reference(value):
        return f"a secret does not stand in this file: put it elsewhere and refer to it by {FORMS}"
    kind, _, place = value.partition(":")
    if not place.strip() or "\0" in place:
        return f"{kind}: names nothing; {FORMS} is wanted"
    if kind == "env" and not place.replace("_", "a").isalnum():
        return f"env: wants the name of a variable: letters, digits and _; {FORMS} is wanted"
    return None
