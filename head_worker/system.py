"""Entities that every tenant understands: dates, times, durations, amounts, numbers, e-mail addresses, with values.

Found by libraries, not by us: dateparser (dates and times, some 200 locales) and quantulum3 (quantities, currencies).
Both are in the extra `entities`; a head that asks for none needs neither.
"""

from __future__ import annotations

import importlib
import re
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
        if set(kinds) & set(_COUNTED):
            _quantulum()
    except ImportError as error:
        raise BadHead(f"it asks for system entities ({', '.join(kinds)}): pip install 'headrace[entities]'") from error


def find(text: str, lang: str, now_us: int, kinds: Collection[str]) -> list[SystemEntity]:
    """The entities of `kinds`, in the text's order, none inside another. "tomorrow" counts from `now_us` (UTC)."""
    found: list[SystemEntity] = []
    if "email" in kinds:
        found += [SystemEntity(m.start(), m.end(), "email", m.group()) for m in _EMAIL.finditer(text)]
    if set(kinds) & set(_COUNTED):
        found += [one for one in _quantities(text) if one.kind in kinds]
    if set(kinds) & set(_DATED):
        found += [one for one in _dates(text, lang, now_us) if one.kind in kinds]
    return list(_apart(found))


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
        elif entity == "time":
            seconds = _SECONDS.get(str(quantity.unit.name))
            if seconds is not None:
                yield SystemEntity(start, end, "duration", float(quantity.value) * seconds)
        else:
            yield SystemEntity(start, end, "amount", f"{quantity.value:g} {quantity.unit.name}")


_SECONDS = {
    "second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0, "week": 604_800.0, "month": 2_629_746.0,
    "year": 31_556_952.0, "millisecond": 1e-3, "microsecond": 1e-6,
}


def _dates(text: str, lang: str, now_us: int) -> Iterator[SystemEntity]:
    base = datetime.fromtimestamp(now_us / 1e6, UTC).replace(tzinfo=None)
    settings = {"RELATIVE_BASE": base, "PREFER_DATES_FROM": "future", "RETURN_TIME_AS_PERIOD": True}
    at = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            known = [lang] if lang else None
            pieces = _dateparser().search.search_dates(text, languages=known, settings=settings) or ()
        except ValueError:  # a language that it does not know
            return
        for piece, moment in pieces:
            start = text.find(piece, at)
            if start < 0 or len(piece.strip()) < 3 or piece.strip().isdigit():
                continue  # a bare number is a number
            at = start + len(piece)
            data = _dateparser().date.DateDataParser(languages=known, settings=settings)
            timed = data.get_date_data(piece).period == "time"
            value = moment.isoformat(timespec="minutes") if timed else moment.date().isoformat()
            yield SystemEntity(start, at, "time" if timed else "date", value)


@cache
def _dateparser() -> Any:
    found = importlib.import_module("dateparser")  # by name: heads without system entities do without it
    importlib.import_module("dateparser.search")
    return found


@cache
def _quantulum() -> Any:
    return importlib.import_module("quantulum3.parser")
