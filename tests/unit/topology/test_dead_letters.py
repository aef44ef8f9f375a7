"""What is kept of a record that cannot be processed, and how much of one client's."""

from dataclasses import replace

import msgpack

from topology import keys, topics, wire
from topology.errors import MalformedRecord, Overloaded, UnknownTenant
from topology.pacing import PACING
from topology.settings import parse
from topology.stream.letter_bound import LetterBound
from topology.stream.records import Record, dead_letter
from topology.stream.refusals import Refusals, asker_of

SETTINGS = parse(
    '[limits]\ndead_letters_per_minute = 3\n[rings.en]\nlanguages = ["en"]\nencoder = "x"\n[rings.en.cells.a]\n'
)
RESULTS = topics.predictions(SETTINGS.prefix, "en", "a")


def names(output, prefix):
    return [name.removeprefix(prefix) for name, _ in output.headers if name.startswith(prefix)]


def test_a_letter_sent_again_with_all_its_headers_has_one_set_of_them_when_it_comes_back():
    record = Record("t", 0, 0, b"k", b"v", (("own", b"1"), ("headrace.replays", b"2")))
    for offset in range(4):  # as kcat does it, which knows nothing of our headers
        letter = dead_letter("letters", record, MalformedRecord(f"time {offset}"))
        record = Record("t", 0, offset + 1, letter.key, letter.value, letter.headers)
    errors = names(letter, "__connect.errors.")
    assert len(errors) == len(set(errors)) == 7
    assert dict(letter.headers)["__connect.errors.offset"] == b"3" and names(letter, "headrace.cut.") == []
    assert letter.headers[:2] == (("own", b"1"), ("headrace.replays", b"2"))


def test_headers_of_an_earlier_letter_do_not_count_as_cut_and_a_forged_cut_is_not_kept():
    mine = tuple((f"__connect.errors.{i}", b"x" * 1_000) for i in range(200))
    letter = dead_letter("letters", Record("t", 0, 0, None, b"v", (*mine, ("headrace.cut.headers", b"9"))), OSError())
    assert names(letter, "headrace.cut.") == []


def test_every_form_of_a_letter_that_is_not_the_whole_record_says_what_was_cut():
    small = dead_letter("letters", Record("t", 0, 0, b"k", b"value", (("h", b"1"),)), OSError())
    assert names(small, "headrace.cut.") == []
    assert names(small.shorter, "headrace.cut.") == ["value.bytes", "key.bytes", "headers"]
    large = Record("t", 0, 0, None, bytes(PACING.dead_value_bytes + 1))
    assert dict(dead_letter("letters", large, OSError()).headers)["headrace.cut.value.bytes"] == b"262145"
    partly = Record("t", 0, 0, b"k", None, (), "the record cannot be read: \ud83d")
    assert names(dead_letter("letters", partly, OSError()), "headrace.cut.") == ["unreadable"]


def test_so_many_letters_of_a_tenant_are_kept_in_a_minute_and_more_in_the_next():
    bound = LetterBound(3)
    assert [bound.takes("acme", now_s) for now_s in (0, 1, 2, 3, 59.9, 60, 61, 62, 63)] == [
        True, True, True, False, False, True, True, True, False,
    ]
    assert bound.over == 3 and bound.takes("other", 63) and bound.takes("", 63)


def test_a_client_that_makes_up_a_tenant_for_each_record_fills_neither_the_topic_nor_the_memory():
    bound = LetterBound(3, replace(PACING, letter_tenants=5))
    assert sum(bound.takes(f"tenant-{i}", 1.0) for i in range(10_000)) == 15
    assert len(bound._kept) <= 15 and bound.over == 9_985
    assert bound.takes("acme", 61.0)


def refusals_of(lane):
    return Refusals(SETTINGS, "en", lane)


def outcome(refusals, error=None, **fields):
    asked = {"id": "x", "tenant": "acme", "text": "light on", "lang": "en", "reply_to": "headrace:replies:c", **fields}
    record = Record("utterances", 0, 0, None, msgpack.packb(asked))
    return refusals.outcome(record, asker_of(record.value), error or MalformedRecord("why"), RESULTS)


def test_what_is_above_the_bound_is_told_to_its_caller_counted_and_logged(caplog):
    refusals = refusals_of("live")
    found = [outcome(refusals, ValueError("a fault of ours")) for _ in range(5)]
    letters = topics.dead_letters(SETTINGS.prefix)
    assert [[o.topic for o in one.outputs] for one in found] == [[letters, RESULTS]] * 3 + [[RESULTS]] * 2
    said = [wire.decode(wire.Prediction, reply.value) for one in found for reply in one.replies]
    assert [one.error for one in said] == ["internal"] * 5
    assert [one.message.endswith("; it is in the dead letters") for one in said] == [True] * 3 + [False] * 2
    assert refusals.letters_over_bound == 2 and "no dead letter for utterances[0]@0 of tenant 'acme'" in caplog.text


def test_what_came_with_too_many_others_is_no_letter_and_takes_none_from_the_bound():
    refusals = refusals_of("live")
    assert [len(outcome(refusals, Overloaded("wait", 5)).outputs) for _ in range(9)] == [1] * 9
    assert refusals.letters_over_bound == 0 and len(outcome(refusals).outputs) == 2


def test_an_unknown_tenant_is_no_letter_in_a_ring_that_the_client_guessed_and_one_where_it_was_named():
    refusals, error = refusals_of("live"), UnknownTenant("no head")
    asked = ({"guessed": True}, {"guessed": 1}, {})
    assert [len(outcome(refusals, error, **one).outputs) for one in asked] == [1, 2, 2]
    assert len(outcome(refusals, guessed=True).outputs) == 2  # a bad record is one, however its ring was chosen


def test_refusals_of_the_backfill_lane_are_on_its_topics_and_write_no_reply():
    found = outcome(refusals_of("backfill"))
    assert len(found.outputs) == 2 and found.replies == ()
    assert outcome(refusals_of("live")).replies[0].digest == keys.request_digest("light on", "en")
