"""Durations in the languages of the docs, and numbers in words of Chinese and Thai."""

import pytest

pytest.importorskip("dateparser")
pytest.importorskip("quantulum3")

from head_worker.durations import LANGUAGES
from head_worker.numerals import WORD_LANGUAGES
from head_worker.numerals_east import value_of
from head_worker.system import find, unread
from topology.heads import SYSTEM_ENTITIES

WEDNESDAY_US = 1_795_000_000_000_000  # 2026-11-18 08:26:40 UTC
DAY = 86_400.0


def said(text, lang, kinds=SYSTEM_ENTITIES):
    return [(text[e.start : e.end], e.kind, e.value) for e in find(text, lang, WEDNESDAY_US, kinds)]


@pytest.mark.parametrize("text,lang,span,seconds", [
    ("Timer auf drei Tage", "de", "drei Tage", 3 * DAY), ("nach 25 Minuten aus", "de", "25 Minuten", 1500.0),
    ("warte 1,5 Stunden", "de", "1,5 Stunden", 5400.0), ("eine halbe Stunde bitte", "de", "eine halbe Stunde", 1800.0),
    ("anderthalb Stunden", "de", "anderthalb Stunden", 5400.0), ("eine Stunde", "de", "eine Stunde", 3600.0),
    ("2 Stunden und 30 Minuten", "de", "2 Stunden und 30 Minuten", 9000.0),
    ("une demi-heure", "fr", "une demi-heure", 1800.0), ("minuteur de trois jours", "fr", "trois jours", 3 * DAY),
    ("une heure et demie", "fr", "une heure et demie", 5400.0), ("un quart d'heure", "fr", "un quart d'heure", 900.0),
    ("2 horas", "es", "2 horas", 7200.0), ("dos horas y media", "es", "dos horas y media", 9000.0),
    ("media hora", "es", "media hora", 1800.0), ("tre giorni", "it", "tre giorni", 3 * DAY),
    ("un'ora", "it", "un'ora", 3600.0), ("mezz'ora", "it", "mezz'ora", 1800.0),
    ("twee uur", "nl", "twee uur", 7200.0), ("een half uur", "nl", "een half uur", 1800.0),
    ("duas horas", "pt", "duas horas", 7200.0), ("uma hora e meia", "pt", "uma hora e meia", 5400.0),
    ("to timer", "da", "to timer", 7200.0), ("wait half an hour", "en", "half an hour", 1800.0),
    ("two hours and ten minutes", "en", "two hours and ten minutes", 7800.0),
    ("三十五分钟", "zh", "三十五分钟", 2100.0), ("等两个小时", "zh", "两个小时", 7200.0),
    ("半小时后叫我", "zh", "半小时", 1800.0),
    ("一个半小时", "zh", "一个半小时", 5400.0), ("两个半小时", "zh", "两个半小时", 9000.0),
    ("一点五小时", "zh", "一点五小时", 5400.0), ("3个半小时", "zh", "3个半小时", 12600.0),
    ("两个半月", "zh", "两个半月", 2.5 * 2_629_746.0),
    ("เตือนในอีกสามสิบนาที", "th", "สามสิบนาที", 1800.0), ("35 นาที", "th", "35 นาที", 2100.0),
])
def test_a_duration_is_seconds_in_its_language(text, lang, span, seconds):
    assert said(text, lang) == [(span, "duration", seconds)]
    assert said(text, lang, ("duration",)) == [(span, "duration", seconds)]


@pytest.mark.parametrize("text,lang,value", [
    ("à 20 heures", "fr", "2026-11-18T20:00"), ("à 20 heures 30", "fr", "2026-11-18T20:30"),
    ("alle 17 ore", "it", "2026-11-18T17:00"), ("om 5 uur", "nl", "2026-11-19T05:00"),
    ("a las 17 horas", "es", "2026-11-18T17:00"), ("às 17 horas", "pt", "2026-11-18T17:00"),
    ("um 17 Uhr", "de", "2026-11-18T17:00"),
])
def test_an_hour_of_the_clock_is_a_time_and_no_duration(text, lang, value):
    assert [one[1:] for one in said(text, lang)] == [("time", value)]
    assert not said(text, lang, ("duration",))


@pytest.mark.parametrize("text,lang", [
    ("un jour je viendrai", "fr"), ("eines Tages", "de"), ("2026年", "zh"), ("un día de estos", "es"),
    ("十分好", "zh"), ("千万别去", "zh"), ("一起去", "zh"), ("星期三", "zh"), ("五月三号", "zh"), ("三心二意", "zh"),
    ("三四个人", "zh"),
    ("ห้ามสูบบุหรี่", "th"), ("สามารถทำได้", "th"), ("สิบเอ็ดโมง", "th"), ("อันดับสาม", "th"),
])
def test_what_only_looks_like_a_number_is_none(text, lang):
    assert not said(text, lang, ("number", "amount", "duration"))


@pytest.mark.parametrize("text,lang,wanted", [
    ("三十五", "zh", ("三十五", "number", 35.0)), ("我要两百元的", "zh", ("两百元", "amount", "200 CNY")),
    ("三万五千块钱", "zh", ("三万五千块钱", "amount", "35000 CNY")),
    ("三十欧元", "zh", ("三十欧元", "amount", "30 EUR")),
    ("两张票", "zh", ("两", "number", 2.0)), ("我要3张票", "zh", ("3", "number", 3.0)),
    ("三块蛋糕", "zh", ("三", "number", 3.0)), ("สามสิบห้า", "th", ("สามสิบห้า", "number", 35.0)),
    ("โต๊ะสำหรับสี่คน", "th", ("สี่", "number", 4.0)), ("ราคาสองร้อยบาท", "th", ("สองร้อยบาท", "amount", "200 THB")),
    ("สามแสนสองหมื่นบาท", "th", ("สามแสนสองหมื่นบาท", "amount", "320000 THB")),
    ("๓๕ บาท", "th", ("๓๕ บาท", "amount", "35 THB")), ("หนึ่งล้านบาท", "th", ("หนึ่งล้านบาท", "amount", "1000000 THB")),
])
def test_chinese_and_thai_numbers_are_read_in_words_and_digits(text, lang, wanted):
    assert said(text, lang) == [wanted]


@pytest.mark.parametrize("values,value", [
    ([3, 10, 5], 35), ([10], 10), ([10, 2], 12), ([2, 100], 200), ([2, 100, 5], 250), ([1, 100, 0, 5], 105),
    ([3, 10_000, 5, 1_000], 35_000), ([3, 10_000, 5], 35_000), ([1, 10, 2, 10_000, 3, 100], 120_300),
    ([1, 3, 8], 138), ([3, 4], None), ([1_000, 10_000], None),
    ([1, 10**8, 2, 1_000, 10_000], 120_000_000),
])
def test_words_for_numbers_add_up(values, value):
    assert value_of(values) == value


def test_a_text_of_nothing_but_number_words_has_an_end():
    assert value_of([1, 2] * 500) is None
    assert len(said("三十五、" * 200, "zh", ("number",))) <= 24


@pytest.mark.parametrize("kind,line", [
    ("number", "numbers are read in digits"), ("amount", "numbers are read in digits"), ("duration", "none are found"),
    ("date", None), ("time", None), ("email", None),
])
def test_each_kind_is_named_in_each_language_that_it_is_not_read_in(kind, line):
    for lang in ("ja", "ko", "ru", "sv", "ar"):
        told = unread((kind,), [lang])
        assert ([line in one for one in told] == [True]) if line else not told, (kind, lang)
    known = LANGUAGES if kind == "duration" else WORD_LANGUAGES
    assert not unread((kind,), known)
    assert bool(unread((kind,), ["xx"])) == (kind != "email")


@pytest.mark.parametrize("text", ["三月三号开会", "三月三日", "下周三开会", "5月3日开会"])
def test_half_of_a_chinese_date_is_no_date(text):
    assert not said(text, "zh", ("date", "time"))
    assert [one[1] for one in said("明天开会", "zh", ("date",))] == ["date"]
