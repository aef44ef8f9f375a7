"""What may be typed after a flag: `type=` of argparse, which names the flag where it is something else.

A place to write to is looked at before the work whose result it is to hold.
"""

from __future__ import annotations

import math
import os
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path


def whole(least: int = 1, most: int | None = None) -> Callable[[str], int]:
    """A whole number, from `least` to `most`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            span = f"of {least} or more" if most is None else f"from {least} to {most}"
            raise ArgumentTypeError(f"{text!r}: a whole number {span} is wanted")
        return value

    return read


def number(least: float = 0.0, most: float = math.inf, above: bool = False) -> Callable[[str], float]:
    """A finite number from `least` (where `above`, without `least` itself) to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not least <= value <= most or (above and value == least):
            span = f"above {least:g}" if above else f"of {least:g} or more"
            span += f", up to {most:g}," if most < math.inf else ""
            raise ArgumentTypeError(f"{text!r}: a number {span} is wanted")
        return value

    return read


def file_to_write(text: str) -> Path:
    """A file that can be written, in a directory that is there."""
    place = Path(text)
    try:
        if place.is_dir():
            raise ArgumentTypeError(f"{text!r} is a directory: a file is wanted")
        if not place.parent.is_dir():
            raise ArgumentTypeError(f"{text!r} cannot be written: there is no directory {str(place.parent)!r}")
    except (OSError, ValueError) as error:
        raise ArgumentTypeError(f"{text!r} cannot be written: {_why(error)}") from error
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise ArgumentTypeError(f"{text!r} cannot be written: permission denied")
    return place


def folder_to_write(text: str) -> Path:
    """A directory that is there, or can be made."""
    place = Path(text)
    try:
        there = next(one for one in (place, *place.absolute().parents) if one.exists())
    except (OSError, ValueError) as error:
        raise ArgumentTypeError(f"{text!r} cannot be written: {_why(error)}") from error
    if not there.is_dir():
        raise ArgumentTypeError(f"{text!r} cannot be written: {str(there)!r} is no directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ArgumentTypeError(f"{text!r} cannot be written: permission denied at {str(there)!r}")
    return place


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
