"""What a request is checked for before anything leaves the caller's process, and what it becomes."""

import pytest

from producers.request import RequestBuilder, uuid7
from topology import wire
from topology.errors import InvalidUtterance, TextTooLong, UnknownLanguage
from topology.settings import Limits, Redis, Ring, Settings

RINGS = {"en": Ring(name="en", languages=("en",), encoder="none"),
         "west": Ring(name="west", languages=("fr", "de"), encoder="none")}


def build(tenant="acme", text="lights off", lang="en", deadline=None, id=None, key=None):
    settings = Settings(redis=Redis(url="redis://127.0.0.1:1/0"), rings=RINGS, limits=Limits(max_chars=100))
    return RequestBuilder(settings, "headrace:replies:me").build(tenant, text, lang, deadline, id, key)


def test_a_request_names_its_ring_its_deadline_and_where_the_reply_goes():
    request = build(lang="de-AT", deadline=2.5)
    utterance = request.utterance
    assert (request.ring, utterance.lang, utterance.reply_to) == ("west", "de", "headrace:replies:me")
    assert utterance.deadline_us - utterance.submitted_us == 2_500_000 and request.seconds == 2.5
    assert wire.decode(wire.Utterance, wire.encode(utterance)) == utterance


def test_without_an_id_each_request_has_one_of_its_own_and_is_spread():
    first, second = build(), build()
    assert first.utterance.id != second.utterance.id
    assert (first.own_id, first.key) == (False, None)


def test_records_of_one_conversation_or_id_meet_on_one_partition():
    assert build(id="order-7").key == b"order-7" and build(id="order-7").own_id
    assert build(id="order-7", key="talk-1").key == b"talk-1"


def test_an_id_stands_for_one_text_in_one_language():
    assert build(id="x").digest == build(id="y").digest == build(id="x", lang="en-GB").digest
    assert len({build(id="x").digest, build(id="x", text="lights on").digest, build(id="x", lang="fr").digest}) == 3
    assert build(text="é").digest != build(text="e\u0301").digest  # equal once normalized, yet another text


@pytest.mark.parametrize("wrong", [
    {"text": ""}, {"text": " \n\t"}, {"text": None}, {"text": b"bytes"}, {"text": "lone \ud83d"}, {"tenant": ""},
    {"tenant": None}, {"tenant": "a/b"}, {"tenant": "a\nb"}, {"tenant": "x" * 257}, {"id": ""}, {"id": 7},
    {"id": "x" * 257}, {"id": "\ud800"}, {"id": "a\x00b"}, {"key": ""}, {"key": b"k"}, {"lang": 7},
    {"deadline": 0}, {"deadline": -1}, {"deadline": float("nan")}, {"deadline": float("inf")}, {"deadline": True},
    {"deadline": "10"}, {"deadline": 86_401},
])
def test_what_is_wrong_with_a_request_is_told_by_its_field(wrong):
    with pytest.raises(InvalidUtterance, match=next(iter(wrong))):
        build(**wrong)


def test_a_text_of_too_many_characters_and_a_language_that_no_ring_speaks_have_errors_of_their_own():
    assert build(text="x" * 100)
    with pytest.raises(TextTooLong, match="the limit is 100"):
        build(text="x" * 101)
    with pytest.raises(UnknownLanguage):
        build(lang="fi")


@pytest.mark.parametrize("name", ["x" * 256, "a:b", "*", "{tag}", "[0-9]", "%3A", "日本語", "a b", "É", "-", "\\"])
def test_an_id_may_hold_any_printable_character_but_a_slash(name):
    assert build(id=name).utterance.id == name


@pytest.mark.parametrize("name", ["x" * 200, "a:b", "*", "{tag}", "[0-9]", "%3A", "日本語", "a b", "É", "-"])
def test_a_tenant_that_can_be_stored_can_be_asked_for(name):
    assert build(tenant=name).utterance.tenant == name


@pytest.mark.parametrize("name", ["", "x" * 201, "a/b", "\\", "..", ".hidden", "a\nb", 7])
def test_a_tenant_that_cannot_be_stored_is_refused_by_the_client(name):
    with pytest.raises(InvalidUtterance, match="tenant: "):
        build(tenant=name)


def test_ids_of_the_client_sort_by_time_and_are_its_own():
    ids = [uuid7() for _ in range(100)]
    assert len(set(ids)) == 100 and [one[:8] for one in ids] == sorted(one[:8] for one in ids)
    assert all(one[14] == "7" and one[19] in "89ab" for one in ids)
