"""A job: what is replayed, from where to where, with which heads, to which targets. Written once, never resolved again.

Bounded as Spark's Trigger.AvailableNow and Druid's bounded supervisor have it: the ends are taken once, at the start,
and are stored under the job's id before the first record is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from topology.errors import MalformedRecord
from topology.json_map import known_fields, parse_json_map, shown

TOPIC_TARGET = "topic"
SOURCES = ("utterances", "embeddings")  # any other source is a file: a path, a glob, or a URL that fsspec knows
MAX_BYTES = 1 << 20  # of a job's record
FORMAT = 1  # raised where a job would be misunderstood by who does not know a field of it
IN_USUAL_ID = {"ring", "source", "start", "end", "tenants", "heads", "targets", "tenant"}  # for ever, whatever they say


@dataclass(frozen=True)
class Asked:
    """What a job was asked for, as it was typed: the same id asked for something else is refused.

    `source`: `utterances`, `embeddings`, or files (a path, a glob or a URL of JSON lines, CSV or Parquet). `start`,
    `end`: `earliest`, `latest`, a time (ISO 8601), an age (`2h`, `7d`), or offsets by partition (`0:1200,1:900`).
    `tenants`: none for all. `heads`: tenant → version; `current` (and who is not named) is what is announced at the
    start. `targets`: `topic` (the backfill lane's predictions), directories or URLs for Parquet. `tenant`: of the
    lines of files that name none.
    """

    ring: str
    source: str = "utterances"
    start: str = "earliest"
    end: str = "latest"
    tenants: tuple[str, ...] = ()
    heads: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[str, ...] = (TOPIC_TARGET,)
    tenant: str = ""

    @property
    def parquet(self) -> tuple[str, ...]:
        """The targets that are Parquet."""
        return tuple(target for target in self.targets if target != TOPIC_TARGET)


@dataclass(frozen=True)
class Part:
    """Offsets `start` to `end` (exclusive) of one partition, written whole or not at all."""

    start: int
    end: int


@dataclass(frozen=True)
class Span:
    """The bounds of one partition: offsets `start` to `end` (exclusive).

    `source`: a topic, or a file's path; a file is a partition (its number) whose offsets are its rows, from 0; its end
    is not known before it is read, and is -1. `identity`: what changes where a topic is made anew or a file is written
    anew (a topic's id, a file's size and time); empty where nobody tells.
    `lost`: records below `start` that were asked for, and that retention had taken before the job began.
    """

    source: str
    partition: int
    start: int
    end: int
    identity: str = ""
    lost: int = 0

    def parts(self, size: int, position: int = -1) -> Iterator[Part]:
        """The parts from `position` (default: the start) on. Their bounds depend on the job alone, whoever reads them:
        what is written for one twice is the same."""
        at = max(self.start, position)
        while at < self.end or self.end < 0:
            end = self.start + ((at - self.start) // size + 1) * size
            yield Part(at, end if self.end < 0 else min(end, self.end))
            at = end


@dataclass(frozen=True)
class Job:
    """One replay, as its record on the topic of jobs has it. `part_records`: offsets of one part."""

    id: str
    asked: Asked
    spans: tuple[Span, ...]
    created_us: int
    part_records: int
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """JSON, so that an operator can read it with any Kafka tool."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False).encode()


def parse_job(value: bytes) -> Job:
    """The job of one record. Raises: MalformedRecord, and nothing else."""
    try:
        body = parse_json_map(value, MAX_BYTES)
        if (said := body.get("format", FORMAT)) != FORMAT:
            raise ValueError(f"it has format {shown(said)}, this release reads {FORMAT}")
        asked = known_fields(Asked, body["asked"])
        for name in ("tenants", "targets"):
            asked[name] = tuple(asked[name])
        spans = tuple(Span(**known_fields(Span, span)) for span in body["spans"])
        return Job(body["id"], Asked(**asked), spans, body["created_us"], body["part_records"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedRecord(f"record of a backfill job: {str(error)[:200]}") from error


def usual_id(asked: Asked) -> str:
    """The id of a job that was given none: the same command gives the same, also with a later release, whose own fields
    count where they say something."""
    named = {name: value for name, value in asdict(asked).items() if name in IN_USUAL_ID or value}
    told = json.dumps(named, sort_keys=True).encode()
    return f"{asked.ring}-{hashlib.blake2b(told, digest_size=4).hexdigest()}"


def result_id(span: Span, offset: int, version: str) -> str:
    """The id of what comes of one record: the same for the same record and head version, whatever is run again."""
    told = f"{span.source}\0{span.identity}\0{span.partition}\0{offset}\0{version}"
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def differences(asked: Asked, there: Asked) -> list[str]:
    """How what is asked now differs from what the job was asked for."""
    now, before = asdict(asked), asdict(there)
    return [f"{name}: {now[name]!r}, it was {before[name]!r}" for name in now if now[name] != before[name]]


Row = dict[str, Any]
"""One result, as Parquet has it and as the predictions topic has it (`target.py`)."""
