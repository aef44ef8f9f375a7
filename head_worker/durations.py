"""Durations of languages other than English, in the words that quantulum3 reads: `3 Stunden` is `3 hours`.

A text's numbers are digits already (`numerals`). An hour of the clock (`à 20 heures`, `om 5 uur`) is no duration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_UNITS = {  # second, minute, hour, day, week, month, year
    "da": ("sekunde[rn]?", "minut(?:ter)?", "time[rn]?", "dage?", "uger?", "måned(?:er)?", "år"),
    "de": ("sekunden?", "minuten?", "stunden?", "tagen?|tage?", "wochen?", "monate?n?", "jahre?n?"),
    "es": ("segundos?", "minutos?", "horas?", "días?|dias?", "semanas?", "mes(?:es)?", "años?"),
    "fr": ("secondes?", "minutes?", "heures?", "jours?|journées?", "semaines?", "mois", "ans?|années?"),
    "it": ("second[oi]", "minut[oi]", "or[ae]", "giorn[oi]", "settiman[ae]", "mes[ei]", "ann[oi]"),
    "nl": ("seconden?", "minut(?:en)?|minuut", "uur|uren", "dag(?:en)?", "week|weken", "maand(?:en)?",
           "jaar|jaren"),
    "pt": ("segundos?", "minutos?", "horas?", "dias?", "semanas?", "m[eê]s(?:es)?", "anos?"),
    "th": ("วินาที", "นาที", "ชั่วโมง", "วัน", "สัปดาห์|อาทิตย์", "เดือน", "ปี"),
    "zh": ("秒钟?", "分[钟鐘]", "[个個]?小[时時]|[个個]?[钟鐘][头頭]", "天", "[个個]?(?:星期|礼拜)|周|週",
           "[个個]月|(?<=[.]5 )月", "年"),
}
_NAMES = ("seconds", "minutes", "hours", "days", "weeks", "months", "years")
_ARTICLES = {"da": "en|et", "de": "eine[nr]?|ein", "es": "una?", "fr": "une?", "it": "un[oa]?(?= )|un['’]",
             "nl": "een", "pt": "uma?"}
_HALF_MORE = {"da": " og en halv", "de": " und eine halbe", "es": " y media?", "fr": " et demie?", "it": " e mezz[ao]",
              "nl": " en een half", "pt": " e mei[ao]", "zh": "半", "th": "ครึ่ง"}
# What is a fixed word: in hours.
_FIXED = {
    "en": (("half an hour|(?:a )?half[- ]hour", 0.5), ("an hour and a half", 1.5), ("(?:a )?quarter of an hour", 0.25),
           ("three quarters of an hour", 0.75)),
    "da": (("(?:en )?halv time", 0.5), ("halvanden time", 1.5), ("(?:et )?kvarter", 0.25)),
    "de": (("(?:eine[nr]? )?halbe[nr]? stunde", 0.5), ("(?:anderthalb|eineinhalb) stunden", 1.5),
           ("(?:eine[nr]? )?viertelstunde", 0.25), ("(?:eine[nr]? )?dreiviertelstunde", 0.75)),
    "es": (("media hora", 0.5), ("(?:un )?cuarto de hora", 0.25)),
    "fr": (("(?:une )?demi[- ]heure", 0.5), ("(?:un )?quart d['’]heure", 0.25),
           ("trois[ -]quarts d['’]heure|3 quarts d['’]heure", 0.75)),
    "it": (("(?:una )?mezz(?:['’]|a )ora", 0.5), ("(?:un )?quarto d['’]ora", 0.25)),
    "nl": (("(?:een )?half ?uur", 0.5), ("anderhalf uur", 1.5), ("(?:een )?kwartier", 0.25)),
    "pt": (("meia hora", 0.5), ("(?:um )?quarto de hora", 0.25)),
    "th": (("ครึ่งชั่วโมง", 0.5),), "zh": (("半[个個]?小[时時]|半[个個]?[钟鐘][头頭]", 0.5),),
}
_CLOCK = {"es": "las?", "fr": "à|vers|dès|avant|jusqu['’]à", "it": "alle|dalle|delle|le",
          "nl": "om|tot|vanaf|rond|tegen", "pt": "[àa]s"}  # before an hour of the clock
_HOURS = {lang: re.compile(rf"\b(?:(?P<before>{words}) )?(?P<hour>\d{{1,2}}) ?(?:{_UNITS[lang][2]}|h)"
                           r"(?: ?(?P<minute>\d\d))?(?!\w)", re.IGNORECASE) for lang, words in _CLOCK.items()}
_ENDS = {"th": "", "zh": ""}  # of languages without blanks
MAX_YEARS = 3  # digits of a number of years: 2026年 is a date
LANGUAGES = ("en", *sorted(_UNITS))


def _compiled(lang: str) -> re.Pattern[str]:
    """A number or an article, a unit, perhaps half of one more."""
    start, end = ("", "") if lang in _ENDS else (r"(?<![\w.,])", r"(?!\w)")
    units = "|".join(f"(?P<{name}>{words})" for name, words in zip(_NAMES, _UNITS[lang], strict=True))
    article = f"|(?P<article>{_ARTICLES[lang]})" if lang in _ARTICLES else ""
    first = r"(?<![\d.,])" if lang in _ENDS else start
    between = " {0,2}" if lang in _ENDS else "[ -]?"
    counted = f"{first}(?:(?P<count>\\d+(?:\\.\\d+)?){article}){between}(?:{units})(?P<half>{_HALF_MORE[lang]})?{end}"
    return re.compile(counted, re.IGNORECASE)


def _fixed(lang: str) -> re.Pattern[str]:
    words = "|".join(f"(?P<f{i}>{words})" for i, (words, _) in enumerate(_FIXED[lang]))
    return re.compile(f"(?:{words})" if lang in _ENDS else rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)


_COUNTED = {lang: _compiled(lang) for lang in _UNITS}  # of English quantulum3 knows them itself
_FIXED_WORDS = {lang: _fixed(lang) for lang in _FIXED}


def hours_of_the_clock(text: str, lang: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, `20:30`) of "20 heures 30" in "à 20 heures 30"."""
    for one in _HOURS[lang].finditer(text) if lang in _HOURS else ():
        if int(one["hour"]) < 24 and (one["before"] or one["minute"]):
            yield one.start("hour"), one.end(), f"{one['hour']}:{one['minute'] or '00'}"


def durations(text: str, lang: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, the same in English) of the durations, in the text's order."""
    if lang not in _FIXED:
        return
    found = [(one.start(), one.end(), f"{_FIXED[lang][int((one.lastgroup or 'f0')[1:])][1]} hours")
             for one in _FIXED_WORDS[lang].finditer(text)]
    taken = [*((start, end) for start, end, _ in hours_of_the_clock(text, lang)), *((one[0], one[1]) for one in found)]
    for one in _COUNTED[lang].finditer(text) if lang in _COUNTED else ():
        unit = next(name for name in _NAMES if one[name])
        apart = all(one.end() <= start or end <= one.start() for start, end in taken)
        if apart and (said := _count(one, unit, lang)):
            found.append((one.start(), one.end(), f"{said:.15g} {unit}"))
    for start, end, english in sorted(found):
        yield start, end, f" {english} " if lang in _ENDS else english


def _count(one: re.Match[str], unit: str, lang: str) -> float:
    """How many; 0 where it is no duration."""
    count = one["count"]
    if not count:  # "un jour" is "some day" as often
        return 0.0 if unit == "days" else 1.0 + (0.5 if one["half"] else 0.0)
    if unit == "years" and len(count) > MAX_YEARS:
        return 0.0
    return float(count) + (0.5 if one["half"] else 0.0)
