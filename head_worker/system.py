"""Entities that every tenant understands: dates, times, durations, amounts, numbers, e-mail addresses, with values.

Found by libraries, not by us: dateparser (dates and times, some 200 locales), quantulum3 (quantities, currencies) and
text2num (numbers in words). They are in the extra `entities`; a head that asks for none needs none.
"""

from __future__ import annotations

import importlib
import math
import re
import threading
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

from head_worker.date_words import dated_part, is_hour_in_words, is_ordinal, names_a_day, without_last_count
from head_worker.durations import LANGUAGES as DURATION_LANGUAGES
from head_worker.numerals import WORD_LANGUAGES, Rewritten, rewritten, with_hours
from head_worker.numerals_east import money_after
from topology.errors import BadHead
from topology.heads import SYSTEM_ENTITIES

# A plain address as RFC 5322 calls it (a dot-atom at a host name), which is what people type; lengths as RFC 5321 has
# them. Without them "a.a.a. …" of 8,192 characters takes 0.6 s.
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
# What no number and no date is, and what the libraries take super-linear time for: 200 digits 11 s. The longest number
# that people type (a card, an account) has 20 digits, the longest with separators (a time with its fraction) 32 signs.
_RUN = re.compile(r"\d{21,}|[\d.,:/+-]{33,}")
_NUMERAL = re.compile(r"\d+(?:[.,:/]\d+)*")
MAX_CHARS = 1_000  # of a text that are looked through; the encoder reads about as many (250 tokens)
MAX_NUMERALS = 24  # about 1 ms each; the text is looked through up to the one after
_RUN_BEFORE, _RUN_AFTER = re.compile(r"\d[.:/-]$"), re.compile(r"[.:/-]\d")
_DAY = re.compile(r"(\d{1,2})(?!\d)")
_WORD = re.compile(r"\w")
_AND = re.compile(r"(?:,? (?:and|und|et|y|e|en|og) |, ?| ?)")
_YEAR_ALONE = re.compile("\\d{4}年")
_GOES_ON = re.compile("[月周期拜][0-9〇一二三四五六七八九十日天末]")  # of 三月三号 dateparser reads 三月
_HOUR = re.compile(r"(?i)[ap]\.?m\b|o'clock|uhr\b|h\b")
# One text at a time: while dateparser runs the whole process filters its warnings.
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
    wanted = {"dateparser"} if set(kinds) & set(_DATED) else set()
    if set(kinds) & {*_COUNTED, *_DATED}:
        wanted |= {"quantulum3", "text_to_num"}
    if any(find_spec(name) is None for name in wanted):
        raise BadHead(f"it asks for system entities ({', '.join(kinds)}): pip install 'headrace[entities]'")


def readable(text: str) -> str:
    """What of a text is looked through, characters in their places: its beginning, without runs that say nothing."""
    numerals = list(_NUMERAL.finditer(text, 0, MAX_CHARS))
    end = numerals[MAX_NUMERALS].start() if len(numerals) > MAX_NUMERALS else MAX_CHARS
    return _RUN.sub(lambda run: "|" * len(run.group()), text[:end])


def is_known(lang: str) -> bool:
    """Whether dateparser has tables of a language."""
    order = importlib.import_module("dateparser.data.languages_info").language_order
    return lang in order


def unread(kinds: Collection[str], languages: Iterable[str]) -> list[str]:
    """A line for each language in which some of `kinds` are not found, or only in part."""
    lines = []
    for lang in languages:
        if (counted := set(kinds) & {"number", "amount"}) and lang not in WORD_LANGUAGES:
            lines.append(f"system entities {', '.join(sorted(counted))}: in {lang!r} numbers are read in digits, not "
                         f"in words, as in {', '.join(WORD_LANGUAGES)}")
        if "duration" in kinds and lang not in DURATION_LANGUAGES:
            lines.append(f"system entities duration: none are found in {lang!r}, only in "
                         f"{', '.join(DURATION_LANGUAGES)}")
        if (dated := set(kinds) & set(_DATED)) and not is_known(lang):
            lines.append(f"system entities {', '.join(sorted(dated))}: none are found in {lang!r}, which dateparser "
                         "does not know")
    return lines


def warm_up(lang: str) -> None:
    """Load what texts of a language need."""
    try:
        find("pay $5.20 for three tickets tomorrow at 5 pm, 3/4/2027, in 20 minutes", lang, 0, SYSTEM_ENTITIES)
    except Exception:  # whatever a library says of a language
        return


def find(text: str, lang: str, now_us: int, kinds: Collection[str]) -> list[SystemEntity]:
    """The entities of `kinds`, in the text's order, none inside another. "tomorrow" counts from `now_us` (UTC)."""
    with _ALONE:
        return list(_apart(_found(text, lang, now_us, kinds)))


def _found(text: str, lang: str, now_us: int, kinds: Collection[str]) -> list[SystemEntity]:
    found: list[SystemEntity] = []
    if "email" in kinds:
        found += [SystemEntity(m.start(), m.end(), "email", m.group()) for m in _EMAIL.finditer(text)]
    counted = list(_joined(text, _quantities(text, lang))) if set(kinds) & {*_COUNTED, *_DATED} else []
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


def _joined(text: str, found: Iterable[SystemEntity]) -> Iterator[SystemEntity]:
    """The entities, of which "2 hours and 30 minutes" is one duration: each unit smaller than the one before."""
    last: SystemEntity | None = None
    for one in sorted(found, key=lambda e: e.start):
        if last and last.kind == one.kind == "duration" and _AND.fullmatch(text, last.end, one.start):
            assert isinstance(last.value, float) and isinstance(one.value, float)
            if one.value < last.value:
                last = SystemEntity(last.start, one.end, "duration", last.value + one.value)
                continue
        if last:
            yield last
        last = one
    if last:
        yield last


def _quantities(said: str, lang: str) -> Iterator[SystemEntity]:
    """Those whose value JSON can say: "1e400" has none."""
    written = rewritten(said, lang)
    for one in _quantities_of(written.text):
        if isinstance(one.value, str) or math.isfinite(one.value):
            start, end = written.original(one.start, one.end)
            # Digits that go on are of a date, a version, an address.
            if _RUN_BEFORE.search(said, 0, start) or _RUN_AFTER.match(said, end):
                continue
            if one.kind == "number" and (money := money_after(said, end, lang)):
                yield SystemEntity(start, money[0], "amount", f"{Decimal(repr(one.value)).normalize():f} {money[1]}")
            else:
                yield SystemEntity(start, end, one.kind, one.value)


def _quantities_of(text: str) -> Iterator[SystemEntity]:
    for quantity in _quantulum().parse(text):
        (start, end), entity = quantity.span, str(quantity.unit.entity.name)
        if quantity.uncertainty is not None or is_hour_in_words(text, start, end):
            continue  # of "5 to 12" quantulum3 says 8.5, with an uncertainty of 3.5
        while start < end and not (_WORD.match(text[start]) or text[start] in "$€£¥-"):
            start += 1
        try:
            number = float(quantity.value)
        except (OverflowError, TypeError, ValueError):
            continue
        if not math.isfinite(number):
            continue
        if entity == "dimensionless":
            yield SystemEntity(start, end, "number", number)
        elif entity == "currency":
            code = (quantity.unit.currency_code or quantity.unit.name) if quantity.unit else ""
            yield SystemEntity(start, end, "amount", f"{Decimal(repr(number)).normalize():f} {code}")
        elif (seconds := _SECONDS.get(str(quantity.unit.name))) is not None:
            yield SystemEntity(start, end, "duration", number * seconds)


_SECONDS = {
    "second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0, "week": 604_800.0, "month": 2_629_746.0,
    "year": 31_556_952.0, "millisecond": 1e-3, "microsecond": 1e-6,
    "minute of arc": 60.0, "second of arc": 1.0,  # to a caller who says minutes they are of time
}


def _dates(said: str, lang: str, now_us: int) -> Iterator[SystemEntity]:
    written = with_hours(said, lang)
    for one in _dates_of(said, written, lang, now_us):
        yield SystemEntity(*written.original(one.start, one.end), one.kind, one.value)


@cache
def _day_order(lang: str) -> dict[str, str]:
    """dateparser's `search` reads 3/5 as English does in every language, unless it is told the order."""
    try:
        info = importlib.import_module(f"dateparser.data.date_translation_data.{lang}").info
    except ImportError:
        return {}
    return {"DATE_ORDER": info["date_order"]} if info.get("date_order") else {}


def _dates_of(said: str, written: Rewritten, lang: str, now_us: int) -> Iterator[SystemEntity]:
    text = written.text
    base = datetime.fromtimestamp(now_us / 1e6, UTC).replace(tzinfo=None)
    settings = {"RELATIVE_BASE": base, "PREFER_DATES_FROM": "future", "RETURN_TIME_AS_PERIOD": True,
                **_day_order(lang)}
    known = [lang] if lang else None
    is_count = partial(_is_number, lang=lang)
    at = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pieces = _dateparser().search.search_dates(text, languages=known, settings=settings) or ()
            reader = _dateparser().date.DateDataParser(languages=known, settings=settings)
        except (ValueError, OverflowError):  # a language that it does not know; a day that no calendar has
            return
        for piece, _ in pieces:
            at = text.find(piece, at) + len(piece)
            shorter = _without_a_count(piece, reader)
            start = at - len(shorter)
            before = said[: written.original(max(start, 0), at)[0]]
            if said.strip() != shorter or lang != "en":  # "May", and nothing else
                start, piece = dated_part(before, start, shorter.rstrip("| "), lang, reader)
            piece = without_last_count(piece, reader, is_count)
            data = reader.get_date_data(piece)
            least = 2 if lang == "zh" else 3  # 明天
            if start < 0 or len(piece) < least or piece.isdigit() or data.date_obj is None:
                continue  # a bare number is a number
            if _YEAR_ALONE.fullmatch(piece):
                continue  # of 2026年 dateparser reads 2,026 years from now
            if lang == "zh" and _GOES_ON.match(text, start + len(piece) - 1):
                continue
            if is_ordinal(piece) or (data.period in ("month", "year") and not names_a_day(piece, is_count)):
                continue  # "in May": the day would be made up
            timed = data.period == "time"
            value = data.date_obj.isoformat(timespec="minutes") if timed else data.date_obj.date().isoformat()
            yield SystemEntity(start, start + len(piece), "time" if timed else "date", value)


def _is_number(word: str, lang: str) -> bool:
    alone = word.isdigit() or word.casefold() == "one"  # an article to quantulum3
    return alone or any(one.kind == "number" for one in _quantities(word, lang))


def _without_a_count(piece: str, reader: Any) -> str:
    """"four tomorrow at 7" is a count and a time: what follows a first number says a day or an hour by itself. But
    the "3" of "3 Mai 17:00" is its day."""
    first, _, rest = piece.partition(" ")
    whole, day = reader.get_date_data(piece).date_obj, _DAY.match(first)
    if whole is not None and day is not None and int(day[1]) == whole.day:
        return piece
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that what the classifier needs is not installed
        vars(importlib.import_module("quantulum3.classifier"))["USE_CLF"] = False
    return importlib.import_module("quantulum3.parser")
