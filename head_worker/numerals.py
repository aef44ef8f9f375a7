"""Numbers as each language writes them, put into the form that quantulum3 reads, which knows English alone: `1234.50`.

Words are read by text2num, those of Chinese and Thai by `numerals_east`, durations by `durations`. What is found in the
rewritten text stands at the same place in the text that was said.
"""

from __future__ import annotations

import importlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from head_worker import durations, numerals_east

LIBRARY_LANGUAGES = ("da", "de", "es", "fr", "it", "nl", "pt")  # text2num
WORD_LANGUAGES = ("da", "de", "en", "es", "fr", "it", "nl", "pt", "th", "zh")  # en: quantulum3 itself
# Of the languages with many speakers those that write 3.5 (CLDR, "decimal"); the others write 3,5.
_POINT_LANGUAGES = frozenset(
    ("en", "zh", "ja", "ko", "th", "he", "hi", "bn", "ta", "te", "ur", "ms", "fil", "sw")
)
# 1.234 (a thousand), 1.234,50, 49,99
_WITH_COMMA = re.compile(
    r"(?<![\d.,])(?:\d{1,3}(?:\.\d{3})+|(?:\d{1,3}(?:\.\d{3})+|\d+),\d{1,2})(?![.,]?\d)"
)
_THAI_DIGITS = str.maketrans("๐๑๒๓๔๕๖๗๘๙", "0123456789")
_SWAPPED = str.maketrans(".,", ",.")
_FIXED_BLANK = re.compile("(?<=\\d)[\u00a0\u2009\u202f](?=\\d{3}(?!\\d))")  # 1 234,50 as French is typeset
_GERMAN_TIME = re.compile(r"(?i)\b(\d{1,2}) ?uhr\b(?: (\d{2})\b)?|\b[au]m (?=\w)|(?<=\d)\.(?= ?[^\W\d_])")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_OF = re.compile(r"\s+d(?:e\s+|['’])")  # "un millón de euros", "deux millions d'euros"
# Alone they are other words too: "un", "ein", "uno" (1), "un vélo neuf", "tu sei".
_ALSO_WORDS = frozenset(("neuf", "sei"))


@dataclass(frozen=True)
class Rewritten:
    """A text for quantulum3. `places`: of each piece that was replaced, where it stands here, and where in the
    original."""

    text: str
    places: tuple[tuple[int, int, int, int], ...] = ()
    before: Rewritten | None = None  # what this one was made of

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Where characters `start` to `end` stand in the original: a replaced piece is taken whole."""
        found = self._at(start, False), self._at(end - 1, True) + 1 if end > start else self._at(start, False)
        return self.before.original(*found) if self.before else found

    def again(self, found: Iterable[tuple[int, int, str]]) -> Rewritten:
        """The same with these pieces replaced too."""
        return replace(_replaced(self.text, found), before=self)

    def _at(self, at: int, last: bool) -> int:
        index = bisect_right(self.places, (at, 1 << 60)) - 1
        if index < 0:
            return at
        _, end, begin, stop = self.places[index]
        return (stop - 1 if last else begin) if at < end else stop + at - end


def rewritten(text: str, lang: str) -> Rewritten:
    """`text` with decimal points and thousands as English writes them, and words for numbers in digits."""
    if lang not in _POINT_LANGUAGES:
        text = _WITH_COMMA.sub(lambda found: found.group().translate(_SWAPPED), text)
    text = _FIXED_BLANK.sub(" ", text).translate(_THAI_DIGITS)
    found = _replaced(text, _said_in_words(text, lang))
    return found.again(durations.durations(found.text, lang))


def with_hours(text: str, lang: str) -> Rewritten:
    """German dates and hours as `3 Mai 17:00`: of "am 3. Mai um 17 Uhr" dateparser reads a day of the year 2117. Of "à
    20 heures" it reads 20 hours from now: hours of the clock are `à 20:00` in other languages."""
    if lang != "de":
        return _replaced(text, durations.hours_of_the_clock(text, lang))
    found = ((m.start(), m.end(), f"{m[1]}:{m[2] or '00'}" if m[1] else "") for m in _GERMAN_TIME.finditer(text))
    return _replaced(text, found)


def _replaced(text: str, found: Iterable[tuple[int, int, str]]) -> Rewritten:
    pieces, places, at, length = list[str](), list[tuple[int, int, int, int]](), 0, 0
    for begin, stop, instead in found:
        pieces += [text[at:begin], instead]
        length += begin - at
        places.append((length, length + len(instead), begin, stop))
        length, at = length + len(instead), stop
    return Rewritten("".join([*pieces, text[at:]]), tuple(places))


def _said_in_words(text: str, lang: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, digits) of numbers in words; ordinals, and what may be an article, are none."""
    if lang in ("zh", "th"):
        yield from numerals_east.numbers(text, lang)
    if lang not in LIBRARY_LANGUAGES:
        return
    find_numbers, word = _text2num()
    words = [word(found, text) for found in _WORD.finditer(text)]
    for one in find_numbers(words, lang, threshold=0):
        alone = words[one.start].text().casefold() if one.end == one.start + 1 else ""
        if not one.is_ordinal and not (alone and one.value == 1) and alone not in _ALSO_WORDS:
            stop = words[one.end - 1].found.end()
            of = _OF.match(text, stop) if one.value % 1_000_000 == 0 else None
            digits = f"{one.value:.15g}"
            yield words[one.start].found.start(), of.end() if of else stop, f"{digits} " if of else digits


@cache
def _text2num() -> tuple[Any, Any]:
    library = importlib.import_module("text_to_num")  # by name: heads without system entities do without it

    class Word(library.Token):  # type: ignore[misc,name-defined]
        """A word of a text, as text2num wants them."""

        def __init__(self, found: re.Match[str], whole: str) -> None:
            self.found, self._whole = found, whole

        def text(self) -> str:
            return self.found.group()

        def nt_separated(self, before: Word) -> bool:
            return bool(self._whole[before.found.end() : self.found.start()].strip())

    return library.find_numbers, Word
