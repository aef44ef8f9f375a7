"""Entities that every tenant understands: dates, times, durations, amounts, numbers, e-mail addresses, with values.

Found by libraries, not by us: dateparser (dates and times, some 200 locales) and quantulum3 (quantities, currencies).
Both are in the extra `entities`; a head that asks for none needs neither.
"""

from __future__ import annotations

import importlib
import re
import threading
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from topology.errors import BadHead

# A plain address as RFC 5322 calls it (a dot-atom at a host name), which is what people type.
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_WORD = re.compile(r"\w")
_HOUR = re.compile(r"(?i)[ap]\.?m\b|o'clock|uhr\b|h\b")
# One text at a time: heads are scored on threads, and while dateparser runs the whole process filters its warnings.
_ALONE = threading.Lock()
_DATED = ("date", "time")
_COUNTED = ("number", "amount", "duration")


@dataclass(frozen=True)
class SystemEntity:
    """Characters `start` to `end` of a text. `value`: ISO 8601 for dates and times, seconds for durations, a number, an
    amount with its currency (`49.99 EUR`), an address."""

    start: int
    end: int
    kind: str
    value: str | float


def check_available(kinds: Collection[str]) -> None:
    """Raises: BadHead where a library that `kinds` need is not installed."""
    try:
        if set(kinds) & set(_DATED):
            _dateparser()
        if set(kinds) & {*_COUNTED, *_DATED}:
            _quantulum()
    except ImportError as error:
        raise BadHead(f"it asks for system entities ({', '.join(kinds)}): pip install 'headrace[entities]'") from error


def find(text: str, lang: str, now_us: int, kinds: Collection[str]) -> list[SystemEntity]:
    """The entities of `kinds`, in the text's order, none inside another. "tomorrow" counts from `now_us` (UTC)."""
    with _ALONE:
        return list(_apart(_found(text, lang, now_us, kinds)))


def _found(text: str, lang: str, now_us: int, kinds: Collection[str]) -> list[SystemEntity]:
    found: list[SystemEntity] = []
    if "email" in kinds:
        found += [SystemEntity(m.start(), m.end(), "email", m.group()) for m in _EMAIL.finditer(text)]
    counted = list(_quantities(text)) if set(kinds) & {*_COUNTED, *_DATED} else []
    found += [one for one in counted if one.kind in kinds]
    if set(kinds) & set(_DATED):
        masked = text
        for one in (e for e in [*found, *counted] if e.kind in ("email", "amount")):  # an amount of money is no date
            masked = masked[: one.start] + "|" * (one.end - one.start) + masked[one.end :]
        found += [one for one in _dates(masked, lang, now_us) if one.kind in kinds]
    return found


def _apart(found: list[SystemEntity]) -> Iterator[SystemEntity]:
    """The longer of two that overlap; of equal ones a date or an amount rather than a bare number."""
    taken: list[SystemEntity] = []
    for one in sorted(found, key=lambda e: (e.start - e.end, e.kind == "number", e.start)):
        if all(one.end <= other.start or other.end <= one.start for other in taken):
            taken.append(one)
    yield from sorted(taken, key=lambda e: e.start)


def _quantities(text: str) -> Iterator[SystemEntity]:
    for quantity in _quantulum().parse(text):
        (start, end), entity = quantity.span, str(quantity.unit.entity.name)
        while start < end and not (_WORD.match(text[start]) or text[start] in "$€£¥-"):
            start += 1
        if entity == "dimensionless":
            yield SystemEntity(start, end, "number", float(quantity.value))
        elif entity == "currency":
            code = (quantity.unit.currency_code or quantity.unit.name) if quantity.unit else ""
            yield SystemEntity(start, end, "amount", f"{quantity.value:g} {code}")
        elif (seconds := _SECONDS.get(str(quantity.unit.name))) is not None:
            yield SystemEntity(start, end, "duration", float(quantity.value) * seconds)


_SECONDS = {
    "second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0, "week": 604_800.0, "month": 2_629_746.0,
    "year": 31_556_952.0, "millisecond": 1e-3, "microsecond": 1e-6,
    "minute of arc": 60.0, "second of arc": 1.0,  # to a caller who says minutes they are of time
}


def _dates(text: str, lang: str, now_us: int) -> Iterator[SystemEntity]:
    base = datetime.fromtimestamp(now_us / 1e6, UTC).replace(tzinfo=None)
    settings = {"RELATIVE_BASE": base, "PREFER_DATES_FROM": "future", "RETURN_TIME_AS_PERIOD": True}
    known = [lang] if lang else None
    at = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pieces = _dateparser().search.search_dates(text, languages=known, settings=settings) or ()
            reader = _dateparser().date.DateDataParser(languages=known, settings=settings)
        except ValueError:  # a language that it does not know
            return
        for piece, _ in pieces:
            at = text.find(piece, at) + len(piece)
            shorter = _without_a_count(piece, reader)
            start = at - len(shorter)
            piece = shorter.rstrip("| ")
            data = reader.get_date_data(piece)
            if start < 0 or len(piece) < 3 or piece.isdigit() or data.date_obj is None:
                continue  # a bare number is a number
            timed = data.period == "time"
            value = data.date_obj.isoformat(timespec="minutes") if timed else data.date_obj.date().isoformat()
            yield SystemEntity(start, start + len(piece), "time" if timed else "date", value)


def _without_a_count(piece: str, reader: Any) -> str:
    """"four tomorrow at 7" is a count and a time: what follows a first number says a day or an hour by itself."""
    first, _, rest = piece.partition(" ")
    number = first.isdigit() or bool(rest and _quantulum().parse(first))
    said_alone = number and not _HOUR.match(rest) and reader.get_date_data(rest).period in ("day", "time")
    return rest if said_alone and reader.get_date_data(rest).date_obj is not None else piece


@cache
def _dateparser() -> Any:
    found = importlib.import_module("dateparser")  # by name: heads without system entities do without it
    importlib.import_module("dateparser.search")
    return found


@cache
def _quantulum() -> Any:
    # Its unit classifier is a pickle bound to one version of scikit-learn: left off, units are read by their names.
    vars(importlib.import_module("quantulum3.classifier"))["USE_CLF"] = False
    return importlib.import_module("quantulum3.parser")
