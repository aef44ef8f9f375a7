"""Everything of ours that one release writes and another may read: a sample of each, and what is read of it.

Imported under other releases too (`tests/releases.py`), so it uses only what all of them have. `python -m tests.formats
write` prints the samples of a release as JSON; `read` takes such samples and prints what that release knows of them.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infra.autoscale import history
from infra.autoscale.tiers import Advice
from infra.backfill.counts import Counts
from infra.backfill.job import Asked, Job, Span, parse_job
from infra.backfill.jobs import Beat, Jobs
from infra.dead_letters import Letter
from infra.insights.ledger import Position
from infra.insights.windows import Key, Window
from infra.stack import supervise
from producers.reply import read_reply
from topology import wire
from topology.errors import UnknownTenant
from topology.heads import HeadManifest
from topology.registry import Candidate, HeadRecord, parse_record
from topology.stream.records import Record, dead_letter
from topology.stream.work import Work

try:
    from topology import placement
except ImportError:  # a release before tenants moved
    placement = None

STAGES = {"submitted": 1_000, "received": 2_000, "encoded": 3_000, "predicted": 4_000}
ENTITY = {"start": 0, "end": 3, "label": "room", "text": "off", "confidence": 0.5, "value": "OFF"}
UTTERANCE = wire.Utterance("id-1", "acme", "off", "en", 1_000, 9_000, "headrace:replies:x")
EMBEDDING = wire.Embedding(
    "id-1", "acme", "off", "en", 1_000, 9_000, "headrace:replies:x", "en", "space", "int8", 1, 2, b"\1\2",
    b"\0\0\x80?", b"\0\0\0\0\3\0\0\0", True, STAGES,
)
PREDICTION = wire.Prediction(
    "id-1", "acme", "en", "en", "off", "off", 0.5, True, [ENTITY], "v1", "space", True, STAGES, "", "", 0, "said", 77,
)
REFUSED = wire.Prediction("id-1", "acme", "en", "en", "", error="overloaded", message="too many", retry_after_ms=250)


@dataclass(frozen=True)
class Format:
    """`write` gives the bytes of a sample, `read` what a process makes of some bytes, `known` what of that is told."""

    write: Callable[[], bytes]
    read: Callable[[bytes], Any]
    known: tuple[str, ...]

    def told(self, data: bytes) -> dict[str, Any]:
        """What is read of some bytes, in JSON's kinds of values."""
        found = self.read(data)
        return {name: _plain(getattr(found, name)) for name in self.known}


def _plain(value: Any) -> Any:
    if is_dataclass(value):  # of the fields that the first release had, wherever it is read
        return {name: _plain(getattr(value, name)) for name in NESTED[type(value).__name__]}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.hex() if isinstance(value, bytes) else value


NESTED = {
    "Asked": ("ring", "source", "start", "end", "tenants", "heads", "targets", "tenant"),
    "Span": ("source", "partition", "start", "end", "identity", "lost"),
    "Candidate": ("version", "space", "sha256", "mode", "share"),
    "Shares": ("weights", "draining"),
    "Entity": ("start", "end", "label", "text", "confidence", "value"),
}


def _of_topic(record: Any) -> Format:
    kind = type(record)
    return Format(lambda: wire.encode(record), lambda data: wire.decode(kind, data), RECORDS[kind.__name__])


RECORDS = {
    "Utterance": ("id", "tenant", "text", "lang", "submitted_us", "deadline_us", "reply_to"),
    "Embedding": ("id", "tenant", "text", "lang", "submitted_us", "deadline_us", "reply_to", "ring", "space", "dtype",
                  "tokens", "hidden", "data", "scales", "offsets", "truncated", "stages"),
    "Prediction": ("id", "tenant", "ring", "lang", "text", "intent", "confidence", "out_of_scope", "entities",
                   "head_version", "space", "truncated", "stages", "error", "message", "retry_after_ms",
                   "utterance_id", "submitted_us"),
}


def _jobs(**records: bytes) -> Jobs:
    """The topic of jobs as a process has read it, without a broker."""
    jobs = Jobs.__new__(Jobs)
    jobs._records = {name.replace("__", "/"): value for name, value in records.items()}
    return jobs


class _Folder:
    """A directory of state with one file in it."""

    def __init__(self, name: str, data: bytes = b"") -> None:
        self._name, self._data = name, data

    def __enter__(self) -> Path:
        self._folder = TemporaryDirectory()
        place = Path(self._folder.name)
        if self._data:
            (place / self._name).write_bytes(self._data)
        return place

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()


def _history() -> bytes:
    with _Folder(history.NAME) as place:
        history.History(place).note([Advice("encoder/en", 2.0, 3, 2, "busy", reports=("a hot partition",))])
        return (place / history.NAME).read_bytes()


def _stretch(data: bytes) -> history.Stretch:
    with _Folder(history.NAME, data) as place:
        (found,) = history.read(place)
        return found


def _process(data: bytes) -> supervise.ProcessState:
    with _Folder(supervise.PROCESSES, data) as place:
        (found,) = supervise.processes_of(place)
        return found


def _processes() -> bytes:
    with _Folder(supervise.PROCESSES) as place:
        supervisor = supervise.Supervisor(place)
        child = supervisor.start("head-en-a-0", [sys.executable, "-c", ""])
        child.process.wait(60)
        told = json.loads((place / supervise.PROCESSES).read_text())
        supervisor.stop()
    return json.dumps([{**told[0], "pid": 7, "started_s": 1.5, "log": "head.log"}]).encode()


def _letter() -> bytes:
    """A dead letter's headers and value, in a form of the tests' own."""
    record = Record("headrace.en.utterances", 3, 8, b"acme", wire.encode(UTTERANCE), (("trace", b"1"),))
    output = dead_letter("headrace.dead-letters", record, UnknownTenant("nobody"))
    assert output.value is not None
    return json.dumps([output.value.hex(), [(name, value.hex()) for name, value in output.headers]]).encode()


def _read_letter(data: bytes) -> Letter:
    value, headers = json.loads(data)
    pairs = tuple((name, bytes.fromhex(one)) for name, one in headers)
    return Letter(Record("headrace.dead-letters", 0, 1, b"acme", bytes.fromhex(value), pairs))


MANIFEST = HeadManifest(
    "acme", "en", "v1", "space", 32, ("on", "off"), ("O", "B-room", "I-room"), "ab12", 2, 1.5, 0.25, "2026-11-27",
    {"accuracy": 0.9}, 1, "int8", ("date",), {"room": {"kitchen": ["galley"]}},
)
RECORD = HeadRecord("acme", "en", "v1", "space", "ab12", Candidate("v2", "space", "cd34", "canary", 0.25))
JOB = Job(
    "replay-1", Asked("en", "utterances", "2h", "latest", ("acme",), {"acme": "v1"}, ("topic", "out"), "acme"),
    (Span("headrace.en.utterances", 0, 5, 9, "topic-id", 2),), 77, 1_024,
)
BEAT = Beat(0, 2, "waiting", "live is late", 12.5, 77, "host", 7)
COUNTS = Counts(9, 6, 1, Counter({"unknown_tenant": 2}), [(0, 5)], "")
WINDOW = Window(8, 3, 1, True, {"overloaded": 2}, {"off": 3}, {"v1": [3, 1_500_000]}, {"all": [0] * 12 + [3]})
POSITION = Position(8, 77, 2, 1, 66, "topic-id")

FORMATS = {
    "utterance": _of_topic(UTTERANCE),
    "embedding": _of_topic(EMBEDDING),
    "prediction": _of_topic(PREDICTION),
    "reply": Format(
        lambda: b"+" + wire.encode(PREDICTION), lambda data: read_reply(("acme", "id-1"), data, 5_000),
        ("id", "tenant", "ring", "lang", "text", "intent", "confidence", "out_of_scope", "entities", "truncated",
         "head_version", "stages_us"),
    ),
    "error reply": Format(
        lambda: b"-" + wire.encode(REFUSED), lambda data: read_reply(("acme", "id-1"), data, 5_000),
        ("code", "retry_after_ms"),
    ),
    "registry record": Format(
        RECORD.to_bytes, lambda data: parse_record(RECORD.key, data),
        ("tenant", "ring", "version", "space", "sha256", "candidate"),
    ),
    "head.json": Format(
        lambda: MANIFEST.to_json().encode(), HeadManifest.from_json,
        ("tenant", "ring", "version", "space", "hidden", "intents", "tags", "sha256", "attention_heads", "temperature",
         "out_of_scope_threshold", "created", "metrics", "precision", "system_entities", "synonyms"),
    ),
    "note of a commit": Format(
        lambda: Work("head-0", 9.5, 2.5, 1.5, 100, 1_500).to_note().encode(),
        lambda data: Work.from_note(data.decode()), ("worker", "up_s", "loop_s", "engine_s", "records", "tokens"),
    ),
    "backfill job": Format(JOB.to_bytes, parse_job, ("id", "asked", "spans", "created_us", "part_records")),
    "backfill worker": Format(
        lambda: json.dumps(vars(BEAT)).encode(), lambda data: _jobs(j__worker__0=data).beats("j")[0],
        ("worker", "of", "state", "why", "per_s", "at_us", "host", "pid"),
    ),
    "backfill counts": Format(
        lambda: COUNTS.to_json().encode(), lambda data: Counts.from_json(data.decode()),
        ("read", "predicted", "skipped", "refused", "lost", "why"),
    ),
    "insights window": Format(
        WINDOW.to_bytes, Window.from_bytes,
        ("offset", "predictions", "out_of_scope", "partial", "errors", "intents", "sure", "latency"),
    ),
    "insights position": Format(
        POSITION.to_bytes, Position.from_bytes,
        ("offset", "time_ms", "changelog_start", "log", "whole_from_ms", "topic_id"),
    ),
    "insights key": Format(
        Key(3, 1, "hour", 7_200, "acme").to_bytes, Key.from_bytes, ("partition", "log", "grain", "start_s", "tenant"),
    ),
    "dead letter": Format(
        _letter, _read_letter, ("reason", "source", "origin", "tenant", "replays", "cut"),
    ),
    "processes.json": Format(_processes, _process, ("name", "pid", "started_s", "restarts", "log")),
    "scale-history.jsonl": Format(
        _history, _stretch, ("tier", "since_s", "at_s", "running", "replicas", "why", "held", "reports", "times"),
    ),
}

if placement is not None:
    SHARES = placement.RingRecord(
        "en", placement.Shares({"a": 1.0, "b": 2.0}, frozenset({"b"})), (placement.Shares({"b": 2.0}),)
    )
    PIN = placement.PinRecord("en", "acme", "b", ("a",))
    FORMATS |= {
        "placement of a ring": Format(
            SHARES.to_bytes, lambda data: placement.parse(SHARES.key, data), ("ring", "now", "former"),
        ),
        "placement of a tenant": Format(
            PIN.to_bytes, lambda data: placement.parse(PIN.key, data), ("ring", "tenant", "cell", "former"),
        ),
    }


if __name__ == "__main__":
    if sys.argv[1] == "write":
        print(json.dumps({name: one.write().hex() for name, one in FORMATS.items()}))
    else:
        given = json.load(sys.stdin)
        known = {name: bytes.fromhex(data) for name, data in given.items() if name in FORMATS}
        print(json.dumps({name: FORMATS[name].told(data) for name, data in known.items()}))
