"""What of a piece that dateparser takes for a date says none: "die", "mit", "may", the two of "tomorrow, two"."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

# Ordinary words that dateparser knows as short forms of weekdays and months.
_DANISH = frozenset(("man", "søn", "tor", "fre", "jan", "mar"))
_ALSO_WORDS = {
    "da": _DANISH, "nb": _DANISH, "no": _DANISH,
    "de": frozenset(("die", "mit", "so", "don", "sam", "son", "fr", "jan")),
    "en": frozenset(("may", "march", "mar", "sun", "sat")),
    "es": frozenset(("mar", "mi", "vi", "vie", "do", "sa", "lu", "ju", "set", "ago", "ene")),
    "fr": frozenset(("mar", "mer", "sept", "me", "ma", "je", "di", "ve", "sa", "lu", "jan", "sam")),
    "it": frozenset(("mar", "mer", "set", "ago", "gio", "mag", "dom", "gen")),
    "nl": frozenset(("zo", "ma", "do", "jan", "wo")),
    "pt": frozenset(("ter", "sex", "seg", "qui", "qua", "out", "set", "dom", "mar", "jan")),
}
_MONTHS = frozenset(("may", "march", "mar", "jan", "set", "ago", "ene", "sept", "mag", "gen", "out"))
_BEFORE_DATES = {  # words that say of the one after them that it is a date: "may I", "we march on" are none
    "de": frozenset(("am", "vom", "zum", "nächsten", "nächster", "kommenden", "diesen", "letzten", "jeden")),
    "en": frozenset((
        "in", "on", "for", "of", "next", "last", "this", "by", "until", "till", "since", "from", "to", "during",
        "every", "before", "after", "and", "or", "early", "late", "mid",
    )),
}
_DIGIT_BESIDE = r"(?:(?<=\d )|(?<=\d\. )){0}\b|\b{0}\.? \d"
_ON = re.compile("(?i)^on ")  # which `search` takes and the reader of one date does not
_LAST = re.compile(r"(?P<comma>,)?\s+(?P<last>[^\s,]+)$")
_ARTICLES = frozenset(("ein", "eine", "einen", "un", "una", "une", "um", "uma", "een", "en"))
_HANGING = re.compile(r"(?i)(?:,|\s+(?:at|and|for|um|und|für|à|et|pour|y|e|para|a|alle|per|om|en|voor|og|til))$")
_HOUR_IN_WORDS = re.compile(r"(?i)\b(?:half|(?:a )?quarter) (?:past|to|after) \w+")
_ORDINAL = re.compile(r"(?i)(?:\d+ )?(?:(?:on|by|the) ){0,2}\d{1,2}(?:st|nd|rd|th)")
_COUNT = re.compile(r"(?<!\d)\d{1,3}(?![\d月])")
MOST_WORDS = 3  # of a number after a date: two hundred five


def dated_part(before: str, start: int, piece: str, lang: str, reader: Any) -> tuple[int, str]:
    """(where it starts, the piece) without words that only look like a weekday or month; an empty piece where nothing
    is left that says a date. `before`: what was said before it."""
    words = piece.casefold().split()
    mere = _ALSO_WORDS.get(lang, frozenset())
    also = [word.strip(".,") for word in words if word.strip(".,") in mere]
    said_so = before.casefold().split()[-1:]
    if not also or (said_so and said_so[0] in _BEFORE_DATES.get(lang, ())):
        return start, piece
    if any(letter.isdigit() for letter in piece):
        return _with_digits(start, piece, lang, also)
    others = " ".join(word for word in words if word.strip(".,") not in mere and word not in _ARTICLES)
    if others and reader.get_date_data(others).date_obj is not None:
        return start, piece
    inside = piece.casefold()[: piece.casefold().index(also[0])].split()[-1:]
    return start, piece if inside and inside[0] in _BEFORE_DATES.get(lang, ()) else ""


def _with_digits(start: int, piece: str, lang: str, also: list[str]) -> tuple[int, str]:
    """A month stands beside a number; a weekday has a full stop or a comma after it. Of "so um 17:00" the rest is
    read."""
    low = piece.casefold()
    if lang == "en":
        return start, piece
    for word in also:
        if word in _MONTHS and re.search(_DIGIT_BESIDE.format(re.escape(word)), low):
            return start, piece
    first, _, rest = piece.partition(" ")
    if first.casefold() not in also:  # with a full stop or a comma, or further on: "17 Uhr, So."
        return start, piece
    rest_start = start + len(first) + 1
    return (rest_start, rest) if not rest.strip().isdigit() else (rest_start, "")


def is_hour_in_words(text: str, start: int, end: int) -> bool:
    """Whether characters `start` to `end` are of "half past five" or "quarter to 6", which no library here reads."""
    return any(one.start() <= start and end <= one.end() for one in _HOUR_IN_WORDS.finditer(text))


def is_ordinal(piece: str) -> bool:
    """Whether an English piece is "on the 3rd", perhaps of "floor": dateparser reads the third month."""
    return _ORDINAL.fullmatch(piece) is not None


def names_a_day(piece: str, is_number: Callable[[str], bool]) -> bool:
    """Whether a piece that dateparser reads as a month or a year counts from today: "in 2 months", "in zwei Monaten",
    not "in May" or "May 2027"."""
    return _COUNT.search(piece) is not None or any(is_number(word) for word in piece.split() if word.isalpha())


def without_last_count(piece: str, reader: Any, is_number: Callable[[str], bool]) -> str:
    """"in three days, two" is a date and a count: what is left names a day by itself, and the number is no hour, minute
    or year of the whole."""
    for _ in range(MOST_WORDS):
        found = _LAST.search(piece)
        if found is None or not is_number(found["last"]):
            break
        shorter = _HANGING.sub("", piece[: found.start()])
        if found["last"].casefold() in _MONTHS and shorter[-1:].isdigit():
            break  # "le 5 sept"
        left, whole = reader.get_date_data(_ON.sub("", shorter)), reader.get_date_data(piece)
        if left.date_obj is None or left.period in ("month", "year") or _is_part(found["last"], whole, left):
            break
        piece = shorter
    return piece


def _is_part(last: str, whole: Any, left: Any) -> bool:
    if not last.isdigit() or whole.date_obj is None:
        return False
    number, date = int(last), whole.date_obj
    if number == date.year or (number > 12 and number == date.year % 100):
        return True
    clock = whole.period == "time" and number in (date.hour, date.hour % 12, date.minute)
    return bool(clock and whole.date_obj != left.date_obj)
