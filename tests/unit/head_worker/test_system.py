"""Entities that every tenant understands, merged with the tenant's own."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("dateparser")
pytest.importorskip("quantulum3")

from head_worker.engine import Span, TokenVectors, resolved
from head_worker.entities import EntityProcess
from head_worker.system import find, unread
from topology.errors import BadHead
from topology.heads import SYSTEM_ENTITIES, HeadManifest
from topology.pacing import PACING

WEDNESDAY_US = 1_795_000_000_000_000  # 2026-11-18 08:26:40 UTC


def said(text, lang="en", kinds=SYSTEM_ENTITIES):
    return [(text[e.start : e.end], e.kind, e.value) for e in find(text, lang, WEDNESDAY_US, kinds)]


@pytest.mark.parametrize("text,lang,wanted", [
    ("book a table for four tomorrow at 7:30 pm", "en",
     [("four", "number", 4.0), ("tomorrow at 7:30 pm", "time", "2026-11-19T19:30")]),
    ("send 49.99 euros to anna@example.com", "en",
     [("49.99 euros", "amount", "49.99 EUR"), ("anna@example.com", "email", "anna@example.com")]),
    ("set a timer for twenty five minutes", "en", [("twenty five minutes", "duration", 1500.0)]),
    ("on march 3rd", "en", [("on march 3rd", "date", "2027-03-03")]),
    ("rendez-vous mardi prochain", "fr", [("mardi", "date", "2026-11-24")]),
    ("2 tickets please", "en", [("2", "number", 2.0)]),
    ("i need a flight from boston to denver", "en", []),
    ("May I book a table", "en", []),
    ("we march on in the sun", "en", []),
    ("may I come on monday", "en", [("on monday", "date", "2026-11-23")]),
    ("book it for May", "en", []), ("Die Praxis ist im Mai zu", "de", []),
    ("en mai 2027", "fr", [("2027", "number", 2027.0)]),
    ("half past five", "en", []), ("it is 5 to 12", "en", []), ("2027年5月", "zh", []),
    ("room 12 on the 3rd floor", "en", [("12", "number", 12.0)]),
    ("in zwei Monaten", "de", [("in zwei Monaten", "date", "2027-01-18")]),
    ("on may 5th", "en", [("on may 5th", "date", "2027-05-05")]),
    ("das kostet 49,99 €", "de", [("49,99 €", "amount", "49.99 EUR")]),
    ("das kostet 1.234,56 €", "de", [("1.234,56 €", "amount", "1234.56 EUR")]),
    ("cuesta 3,5 euros", "es", [("3,5 euros", "amount", "3.5 EUR")]),
    ("ça coûte 49,99 € demain", "fr", [("49,99 €", "amount", "49.99 EUR"), ("demain", "date", "2026-11-19")]),
    ("pay 1,000 dollars", "en", [("1,000 dollars", "amount", "1000 USD")]),
    ("in 1e400 days", "en", []),
    ("in 1e305 days", "en", []),
    ("pay 1,234,567.89 dollars", "en", [("1,234,567.89 dollars", "amount", "1234567.89 USD")]),
    ("überweise 1.000 Euro", "de", [("1.000 Euro", "amount", "1000 EUR")]),
    ("zwanzig Euro 😀 für zwei Pizzen", "de", [("zwanzig Euro", "amount", "20 EUR"), ("zwei", "number", 2.0)]),
    ("ein Tisch für vier", "de", [("vier", "number", 4.0)]),
    ("Tisch am 3. Mai um 17 Uhr für vier", "de",
     [("3. Mai um 17 Uhr", "time", "2027-05-03T17:00"), ("vier", "number", 4.0)]),
    ("am Montag um 17 Uhr 30", "de", [("Montag um 17 Uhr 30", "time", "2026-11-23T17:30")]),
    ("Termin am 3.5.2027 bitte", "de", [("3.5.2027", "date", "2027-05-03")]),
    ("version 1.2.3", "de", []),
    ("vingt euros", "fr", [("vingt euros", "amount", "20 EUR")]),
    ("quatre-vingt-dix euros", "fr", [("quatre-vingt-dix euros", "amount", "90 EUR")]),
    ("ça fait 1 234,50 €", "fr", [("1 234,50 €", "amount", "1234.5 EUR")]),
    ("1\u202f234,50 € et 2\u00a0000 €", "fr",
     [("1\u202f234,50 €", "amount", "1234.5 EUR"), ("2\u00a0000 €", "amount", "2000 EUR")]),
    ("un café le 3/5/2027", "fr", [("le 3/5/2027", "date", "2027-05-03")]),
    ("on 3/5/2027", "en", [("on 3/5/2027", "date", "2027-03-05")]),
    ("un millón de euros, dos mesas", "es", [("un millón de euros", "amount", "1000000 EUR"), ("dos", "number", 2.0)]),
    ("ventuno euro", "it", [("ventuno euro", "amount", "21 EUR")]),
    ("明天见", "zh", [("明天", "date", "2026-11-19")]),
    ("49.99元", "zh", [("49.99元", "amount", "49.99 CNY")]),
    ("โต๊ะสำหรับ 4 คน", "th", [("4", "number", 4.0)]),
])
def test_values_stand_beside_the_spans(text, lang, wanted):
    assert said(text, lang) == wanted


@pytest.mark.parametrize("lang,text", [
    ("de", "Die Tabletten sind leer"), ("de", "Mit Fieber zum Arzt"), ("de", "So ein Mist"), ("pt", "vou ter que ir"),
    ("es", "el mar es azul"), ("it", "ho visto il mar"), ("da", "man kan ikke"), ("nl", "zo een fiets"),
    ("fr", "la mer est belle"), ("es", "mi casa"), ("de", "die 5 Tabletten"), ("fr", "sept places"),
])
def test_ordinary_words_are_no_weekdays_and_months(lang, text):
    assert said(text, lang, ("date", "time")) == []


@pytest.mark.parametrize("lang,text,wanted", [
    ("de", "am So um 17 Uhr", [("So um 17 Uhr", "2026-11-22T17:00")]),
    ("de", "am Mi, 3. Mai", [("Mi, 3. Mai", "2027-05-03")]),
    ("fr", "le 5 sept", [("le 5 sept", "2027-09-05")]),
    ("es", "el 3 mar", [("3 mar", "2027-03-03")]),
    ("en", "in three days, two tyres", [("in three days", "2026-11-21"), ("two", 2.0)]),
    ("en", "in 2 weeks, 3 bikes", [("in 2 weeks", "2026-12-02"), ("3", 3.0)]),
    ("en", "tomorrow at 5 pm two bikes", [("tomorrow at 5 pm", "2026-11-19T17:00"), ("two", 2.0)]),
    ("en", "on Monday, one helmet", [("on Monday", "2026-11-23")]),
    ("de", "in drei Tagen zwei Mal", [("in drei Tagen", "2026-11-21")]),
    ("fr", "dans trois jours deux personnes", [("dans trois jours", "2026-11-21"), ("deux", 2.0)]),
    ("en", "on May 3, 2027", [("on May 3, 2027", "2027-05-03")]),
    ("en", "on 5 May 27", [("on 5 May 27", "2027-05-05")]),
])
def test_a_date_ends_before_the_count_that_follows_it(lang, text, wanted):
    found = [(words, value) for words, _, value in said(text, lang, ("date", "time", "number"))]
    assert found == wanted


def test_only_the_kinds_that_are_asked_for_are_found():
    assert said("pay $20 tomorrow", kinds=("amount",)) == [("$20", "amount", "20 USD")]
    assert [kind for _, kind, _ in said("pay $20 tomorrow", kinds=("date",))] == ["date"]


def manifest(**fields):
    return HeadManifest("acme", "en", "v1", "s", 8, ("on",), ("O", "B-room", "I-room"), "x", **fields)


def row(text):
    none = np.zeros((1, 8), np.int8)
    return TokenVectors(text, none, np.ones(1, np.float32), np.zeros((1, 2), np.int32), "en", WEDNESDAY_US)


def test_the_tenants_own_span_wins_and_takes_the_value_that_lies_in_it(monkeypatch):
    process = EntityProcess(replace(PACING, entity_first_wait_s=60.0, entity_start_s=120.0))
    monkeypatch.setattr("head_worker.engine.entity_process", lambda: process)
    process.start()
    text = "meet in 2 hours in the lounge"
    own = (Span(5, 15, "when", "in 2 hours", 0.9),)
    found = resolved(own, row(text), manifest(system_entities=("number", "duration")))
    process.stop()
    assert [(e.label, e.value) for e in found] == [("when", 7200.0)]


def test_a_span_that_is_a_part_of_a_longer_time_takes_the_whole_times_value(monkeypatch):
    process = EntityProcess(replace(PACING, entity_first_wait_s=60.0, entity_wait_s=60.0, entity_start_s=120.0))
    monkeypatch.setattr("head_worker.engine.entity_process", lambda: process)
    process.start()

    def values(text, *spans):
        own = tuple(Span(text.index(one), text.index(one) + len(one), "when", one, 0.9) for one in spans)
        return [e.value for e in resolved(own, row(text), manifest(system_entities=("number", "date", "time")))]

    found = [values("call me tomorrow at 5 pm", "tomorrow"), values("call me on Monday at 5 pm", "Monday"),
             values("call me tomorrow at 5 pm", "tomorrow", "5 pm"), values("come in two days", "two"),
             values("set it to 0 please", "0")]
    process.stop()
    assert found == [["2026-11-19T17:00"], ["2026-11-23T17:00"], [None, None], [None], [0.0]], "0 is a value"


def test_synonyms_name_what_was_meant():
    own = (Span(0, 6, "room", "Lounge", 0.9),)
    found = resolved(own, row("Lounge"), manifest(synonyms={"room": {"living room": ["lounge", "salon"]}}))
    assert found[0].value == "living room"
    both = {"room": {"Attic": [], "loft": ["ATTIC", "lounge"], "salon": ["lounge"]}}
    for said, meant in (("attic", "Attic"), ("lounge", "loft"), ("hall", None)):
        span = Span(0, len(said), "room", said, 0.9)
        assert resolved((span,), row(said), manifest(synonyms=both))[0].value == meant


def test_a_manifest_with_an_unknown_kind_or_crooked_synonyms_is_refused():
    for wrong in ({"system_entities": ("colour",)}, {"synonyms": {"room": ["lounge"]}}):
        with pytest.raises(BadHead, match=next(iter(wrong))):
            HeadManifest.from_json(manifest(**wrong).to_json())


def test_threads_find_what_one_finds_and_leave_the_interpreters_warnings_as_they_were():
    asked = 8 * [("call me tomorrow at 5 pm", "en"), ("morgen um 17 uhr für 20 €", "de"), ("pay $49.99", "en")]
    alone = [find(text, lang, WEDNESDAY_US, SYSTEM_ENTITIES) for text, lang in asked]
    filters = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda one: find(*one, WEDNESDAY_US, SYSTEM_ENTITIES), asked))
    assert together == alone
    assert all(alone)
    assert list(warnings.filters) == filters


def test_languages_in_which_kinds_are_not_found_are_named():
    assert unread(("number", "date", "email"), ["en", "de"]) == unread(("email",), ["xx"]) == []
    (words,), both = unread(("number", "date"), ["ja"]), unread(("amount", "time"), ["xx"])
    assert "number: in 'ja' numbers are read in digits" in words
    assert ["amount" in both[0], "none are found in 'xx'" in both[1]] == [True, True]
