"""Without a language the likeliest ring that knows the tenant answers."""

import asyncio
from dataclasses import replace

import pytest

from producers.guess import Guesses
from topology.errors import UnknownTenant
from topology.pacing import PACING

RINGS = {"en": ("en",), "west": ("fr", "de"), "east": ("zh",)}


def asked(known, texts, **pacing):
    """(what each text was answered with, the languages that were asked in)."""
    guesses, languages = Guesses(RINGS, replace(PACING, **pacing)), []

    async def ask(language, left_s):
        languages.append(language)
        assert 0 < left_s <= 10.0
        if language not in known:
            raise UnknownTenant(language)
        return language

    async def all_of_them():
        return [await guesses.first_known("acme", text, 10.0, ask) for text in texts]

    return asyncio.run(all_of_them()), languages


def test_an_english_word_to_a_tenant_with_a_french_head_alone_is_answered_and_asked_at_once_the_next_time():
    replies, languages = asked({"fr", "de"}, ["turn on the light please", "turn off the light please"])
    assert set(replies) <= {"fr", "de"} and languages[0] == "en"
    assert languages.count("en") == 1


def test_a_ring_is_asked_again_after_a_while():
    _, languages = asked({"fr", "de"}, 2 * ["turn on the light please"], absent_s=0.0)
    assert languages.count("en") == 2


def test_a_tenant_without_any_head_is_unknown_in_the_likeliest_ring():
    with pytest.raises(UnknownTenant, match="en"):
        asked(set(), ["turn on the light please"])
