"""Dead letters as they are read and sent again; their bytes may be anybody's."""

import json

import msgpack
import pytest

from infra.cli.dead_letters import _json, _row
from infra.dead_letters import Filter, Letter, Replay, again, targets_of
from infra.decoded import decoded, text_of
from infra.times import iso, time_ms
from topology import topics, wire
from topology.errors import MalformedRecord, Misconfigured
from topology.settings import parse
from topology.stream.records import Record, dead_letter

SETTINGS = parse('[rings.en]\nlanguages = ["en"]\nencoder = "x"\n[rings.en.cells.a]\n')
UTTERANCES = topics.utterances(SETTINGS.prefix, "en")
ASKED = wire.Utterance("x", "acme", "light on", "en", 1, 2, "headrace:replies:c")


def letter(value=b"v", offset=0, headers=(), topic=UTTERANCES, key=b"k", **fields):
    output = dead_letter("letters", Record(topic, 0, 7, key, value, tuple(headers)), MalformedRecord("why"))
    return Letter(Record("letters", 0, offset, output.key, output.value, output.headers, **fields))


@pytest.mark.parametrize("topic,kind", targets_of(SETTINGS).items())
def test_a_record_goes_back_to_its_topic_renewed_where_it_decodes(topic, kind):
    assert (kind is wire.Embedding) is ("embeddings" in topic)
    output = again(letter(topic=topic, headers=[("h", b"1"), ("headrace.replays", b"4")]), kind, 99)
    assert (output.topic, output.key, output.value) == (topic, b"k", b"v")
    assert output.headers == (("h", b"1"), ("headrace.replays", b"5"))
    if kind is wire.Utterance:
        renewed = wire.decode(kind, again(letter(wire.encode(ASKED), topic=topic), kind, 99).value)
        assert (renewed.deadline_us, renewed.reply_to, renewed.text) == (99, "", "light on")


@pytest.mark.parametrize("count", [b"", b"-1", b"x", b"\xff", b"9" * 5_000, "²".encode()])
def test_a_count_of_replays_that_is_none_counts_as_none(count):
    assert letter(headers=[("headrace.replays", count)]).replays == 0


async def test_what_comes_back_while_a_replay_runs_is_not_sent_by_it_again_nor_are_older_letters_of_one_request():
    said = []
    replay = Replay(SETTINGS, said.append, dry_run=True)
    same, other = wire.encode(ASKED), wire.encode(wire.Utterance("y", "acme", "off", "en", 1, 2))
    there = [letter(same), letter(other, 1), letter(same, 2, [("headrace.replays", b"1")])]
    for one in there:
        replay._note(one)

    async def found():
        for one in (*there, letter(same, 3, [("headrace.replays", b"2")])):
            yield one

    await replay._send_all(None, found())
    assert [line.partition(" (")[0] for line in said] == ["would be sent: letter 1", "would be sent: letter 2"]
    assert (replay.done.sent, replay.done.came_back, replay.done.left) == (2, 1, {})


def test_filters_ask_for_reason_tenant_topic_and_time_and_let_pass_what_they_do_not_name():
    one = letter(wire.encode(ASKED), timestamp_ms=5_000)
    passing = [
        {}, {"reason": "malformed_record"}, {"tenant": "acme"}, {"topic": UTTERANCES}, {"since_ms": 5_000},
        {"until_ms": 5_001}, {"place": (0, 0)},
    ]
    stopping = [
        {"reason": "internal"}, {"tenant": "acm"}, {"topic": "t"}, {"since_ms": 5_001}, {"until_ms": 5_000},
        {"place": (1, 0)},
    ]
    assert all(Filter(**fields).passes(one) for fields in passing)
    assert not any(Filter(**fields).passes(one) for fields in stopping)


def deep(levels):
    return b"\x91" * levels + b"\x01"


HOSTILE = [
    None, b"", b"\xff\xfe", b"\x1b[2Jtext", msgpack.packb({"a": b"\xff", "b": float("nan"), "c": [{"d": {}}]}),
    b"\x81\xa1k" + deep(900), b"[" * 100_000, b'{"a": "\\ud83d", "b": 1e999, "c": NaN}', b"9" * 5_000,
    b"\x81\xc4\x01k\x01", b"\x81\xa1k\xd6\xff\x00\x00\x00\x01", wire.encode(ASKED), "\u202e\x9b".encode(),
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_bytes_a_letter_has_they_are_shown_as_json_that_no_terminal_obeys(value):
    text = _json({"value": decoded(value), "key": text_of(value)}, indent=2)
    assert json.loads(text)["value"]["as"]
    assert all(c.isprintable() or c == "\n" for c in text)
    text.encode()
    row = _row(letter(value, headers=[("\x1b", value or b"")], topic="\x1b[31m\n", timestamp_ms=10**18))
    assert row.isprintable()


def test_an_age_and_a_date_are_times_and_what_is_shown_can_be_typed():
    assert time_ms("2h", 10_000) == 2_800_000 and time_ms("1.5m", 100) == 10_000
    assert time_ms("1970-01-01T00:01:00", 0) == time_ms("1970-01-01T01:01:00+01:00", 0) == 60_000
    assert time_ms(iso(1_795_000_000_000), 0) == 1_795_000_000_000 and iso(-1) == iso(10**18) == ""
    for text in ("", "soon", "5", "-2h", "2026-13-01", "9999999999d", "٢h"):
        with pytest.raises(Misconfigured, match="is no time"):
            time_ms(text, 0)
