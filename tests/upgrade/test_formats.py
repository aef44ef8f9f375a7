"""What one release writes the others read: the bytes of 0.1.0, the next release's, and those of this tree's history.

`0.1.0.json` has a sample of every format as 0.1.0 wrote it. It is never written anew: a release adds a file of its own.
"""

import json
import re
from pathlib import Path

import msgpack
import pytest

from infra.backfill.job import Asked, result_id, usual_id
from infra.dead_letters import Letter, again
from infra.insights.table import Windows
from infra.insights.windows import Key
from tests import releases
from tests.formats import COUNTS, FORMATS, JOB, RECORD, UTTERANCE, WINDOW
from topology import cells, keys, topics, wire
from topology.encoders import space_of
from topology.errors import Misconfigured
from topology.heads import HeadManifest
from topology.registry import Candidate, parse_record
from topology.release import VERSION
from topology.settings import parse
from topology.stream.records import Record
from topology.stream.replies import _answer
from topology.stream.work import Work, newest

RELEASED = json.loads((Path(__file__).parent / "0.1.0.json").read_text())
IN_JSON = {"registry record", "head.json", "note of a commit", "backfill job", "backfill worker", "placement of a ring",
           "placement of a tenant"}
LISTS = {"backfill counts", "insights key", "dead letter"}
LATEST = {  # what came last to each format; an earlier release's records lack it
    "utterance": ["reply_to", "one_reader", "guessed"], "embedding": ["truncated", "stages", "one_reader", "guessed"],
    "prediction": ["retry_after_ms", "utterance_id", "submitted_us"], "registry record": ["candidate"],
    "head.json": ["precision", "system_entities", "synonyms"],
    "note of a commit": ["tokens", "version", "begun_s", "placed"],
    "placement of a ring": ["draining", "former"], "placement of a tenant": ["former"],
    "insights window": ["l", "s"], "insights position": ["i", "w"],
}
OLD = "752bdc2"


def told(name, data):
    return FORMATS[name].told(data)


def opened(name, data):
    """(the map of a format's bytes, what makes bytes of it)."""
    if name in IN_JSON:
        return json.loads(data), lambda body: json.dumps(body).encode()
    mark = data[:1] if data[:1] in (b"+", b"-") else b""
    return msgpack.unpackb(data[len(mark):]), lambda body: mark + msgpack.packb(body)


MAPS = sorted(FORMATS.keys() - LISTS - {"processes.json", "scale-history.jsonl"})


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_0_1_0_wrote_is_read_as_it_was_meant(name):
    assert told(name, bytes.fromhex(RELEASED[name])) == told(name, FORMATS[name].write())


def test_every_format_has_a_sample_of_0_1_0_and_a_row_in_the_docs():
    page = (releases.HERE / "docs" / "UPGRADES.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}
    assert RELEASED.keys() == FORMATS.keys() <= rows


@pytest.mark.parametrize("name", MAPS)
def test_a_field_of_a_later_release_is_left_out(name):
    body, closed = opened(name, bytes.fromhex(RELEASED[name]))
    for more in (1, "x", None, True, [1], {"a": {"b": 1}}):
        assert told(name, closed({**body, "from_the_future": more})) == told(name, closed(body))


@pytest.mark.parametrize("name", sorted(LATEST))
def test_a_record_of_before_a_field_came_is_read(name):
    body, closed = opened(name, bytes.fromhex(RELEASED[name]))
    for field in LATEST[name]:
        body.pop(field, None)
        told(name, closed(body))


def test_counts_with_more_or_less_in_them_keep_what_is_known():
    body = json.loads(COUNTS.to_json())
    assert told("backfill counts", json.dumps([*body, "later"]).encode())["predicted"] == 6
    assert told("backfill counts", json.dumps(body[:4]).encode())["refused"] == {"unknown_tenant": 2}
    assert told("backfill counts", b"{}")["read"] == 0


def test_a_job_that_would_be_misunderstood_is_refused_by_its_format():
    body = {**json.loads(JOB.to_bytes()), "format": 2}
    with pytest.raises(Exception, match="format 2"):
        told("backfill job", json.dumps(body).encode())


def test_a_head_of_another_format_is_refused_by_name():
    body = {**json.loads(bytes.fromhex(RELEASED["head.json"])), "format": 2}
    with pytest.raises(Exception, match="format 2"):
        HeadManifest.from_json(json.dumps(body))


def test_who_changes_a_registry_record_keeps_what_a_later_release_wrote_beside():
    body = {**json.loads(RECORD.to_bytes()), "owner": {"team": 1}}
    read = parse_record(RECORD.key, json.dumps(body).encode())
    assert read == RECORD and json.loads(read.to_bytes()) == body


def test_a_trial_of_a_kind_that_a_later_release_knows_leaves_the_current_version_in_force():
    body = json.loads(RECORD.to_bytes())
    body["candidate"]["mode"] = "interleaved"
    read = parse_record(RECORD.key, json.dumps(body).encode())
    assert (read.version, read.candidate) == ("v1", None)


def test_a_reply_that_is_repeated_and_a_letter_that_is_replayed_keep_a_later_releases_fields():
    later = msgpack.packb({**msgpack.unpackb(bytes.fromhex(RELEASED["prediction"])), "channel": "phone"})
    assert _answer(b"+" + later).value == later
    asked = msgpack.packb({**msgpack.unpackb(wire.encode(UTTERANCE)), "channel": "phone"})
    letter = Letter(Record("headrace.dead-letters", 0, 1, b"acme", asked))
    body = msgpack.unpackb(again(letter, wire.Utterance, 99).value)
    assert (body["channel"], body["deadline_us"], body["reply_to"]) == ("phone", 99, "")


def test_windows_under_a_later_releases_keys_are_passed_over():
    class Event:
        def __init__(self, key):
            self.message = type("Message", (), {"key": key, "value": WINDOW.to_bytes()})

    table = Windows.__new__(Windows)
    table._data, table.overtaken = type("Data", (), {"data": {}}), set()
    ours = Key(3, 1, "hour", 7_200, "acme").to_bytes()
    table.apply_changelog_batch([Event(ours), Event(msgpack.packb([3, 1, "hour", 7_200, "acme", "phone"]))])
    assert list(table.store) == [ours]


def test_a_setting_of_a_later_release_is_refused_with_its_place_and_the_release_that_does_not_know_it():
    told = rf":1: owner_of_it_all: unknown setting; Headrace {re.escape(VERSION)} knows"
    with pytest.raises(Misconfigured, match=told):
        parse('owner_of_it_all = "x"\n[rings.en]\nlanguages = ["en"]\nencoder = "x"\n')


def test_of_a_worker_that_began_anew_the_new_process_counts_however_long_the_old_one_ran():
    before = Work("head-0", 90_000.0, 9.0, 9.0, 900, version="0.1.0", begun_s=1_000)
    now = Work("head-0", 2.0, 0.1, 0.1, 1, version="0.2.0", begun_s=91_000)
    assert newest([before, now]) is now


def test_releases_agree_where_things_are(tmp_path):
    """Two releases side by side must place, name and share out alike. These change with a new prefix or ring only."""
    weights = {"a": 1.0, "b": 1.0, "c": 2.0}
    assert "".join(cells.cell_of(f"tenant-{n}", weights, {"a": ["tenant-3"]}) for n in range(16)) == "accaccbacabcbcbc"
    assert keys.reply("h", "a:b", "x") == "h:reply:a%3Ab:x" and keys.claim("h", "a", "x") == "h:claim:a:x"
    assert keys.waiters("h", "a", "x") == "h:waiters:a:x" and keys.reply_stream("h", "c") == "h:replies:c"
    assert keys.request_digest("off", "en") == "13d775e4dc4ef08ca91d30ce0ccc8b4b1f980b50"
    assert RECORD.key == b"en/acme" and topics.utterances("h", "en") == "h.en.utterances"
    assert topics.embeddings("h", "en", "a") == "h.en.a.embeddings" and topics.heads("h") == "h.heads"
    assert topics.predictions("h", "en", "a", "backfill") == "h.en.a.predictions.backfill"
    assert (topics.encoder_group("h", "en"), topics.head_group("h", "en", "a")) == ("h.en.encoder", "h.en.a.head")
    for name, text in (("model.safetensors", "w"), ("tokenizer.json", "t"), ("headrace.json", '{"prefix": "query: "}')):
        (tmp_path / name).write_text(text)
    assert space_of(tmp_path, 250) == "ff53f42f35425a8c"
    canary = Candidate("v2", "space", "x", "canary", 0.5)
    assert [canary.takes(f"id-{n}") for n in range(8)] == [True, True, False, False, True, True, False, True]
    assert result_id(JOB.spans[0], 7, "v1") == "46e35f18215940c3f585e1079b70f22c"
    assert usual_id(Asked("en", heads={"acme": "v2"})) == "en-d023e53a"


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    return releases.next_release(tmp_path_factory.mktemp("later"))


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    if not releases.has_commit(OLD):
        pytest.skip(f"left out: this checkout's history does not have {OLD}")
    return releases.earlier_release(tmp_path_factory.mktemp("earlier"), OLD)


def samples(root):
    return releases.told_by(root, "tests.formats", "write")


def read_under(root, given):
    return json.loads(releases.told_by(root, "tests.formats", "read", given=given))


def test_what_the_next_release_writes_is_read_here_and_what_is_written_here_is_read_there(later):
    here = samples(releases.HERE)
    expected = read_under(releases.HERE, here)
    written = samples(later)
    assert sum(b"next" in bytes.fromhex(one) or b"phone" in bytes.fromhex(one)
               for one in json.loads(written).values()) >= 12, "the next release differs"
    assert read_under(releases.HERE, written) == expected
    assert read_under(later, here) == expected


def test_what_is_written_here_is_read_by_the_release_before_and_what_it_wrote_here(earlier):
    here = samples(releases.HERE)
    theirs = samples(earlier)
    expected = {name: told for name, told in read_under(releases.HERE, here).items() if name in json.loads(theirs)}
    assert read_under(earlier, here) == read_under(releases.HERE, theirs) == expected
