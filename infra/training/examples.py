"""Labelled utterances from files (JSON lines, CSV) and from the topic of labelled traffic."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from topology import topics
from topology.errors import Misconfigured
from topology.settings import Settings
from topology.stream.kafka import TopicReader

SHOWN = 10


@dataclass(frozen=True)
class Entity:
    """Characters `start` to `end` (exclusive) of an example's text."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Example:
    """An utterance, what it asks for, and its entities in the order of the text."""

    text: str
    intent: str
    entities: tuple[Entity, ...] = ()


def read_examples(place: Path) -> list[Example]:
    """Examples of a file: `.csv` with the columns text, intent and, if there are any, entities (a JSON list); else JSON
    lines of `{"text": …, "intent": …, "entities": [{"start", "end", "label"}]}`.

    Raises: Misconfigured, naming every bad line (the first ten are shown).
    """
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{place}: cannot be read: {error}") from error
    found = _checked(_csv(place, text) if place.suffix.lower() == ".csv" else _json_lines(place, text))
    if len(found) < 2:
        raise Misconfigured(f"{place}: {len(found)} examples are too few to train a head")
    return found


async def read_topic(settings: Settings, tenant: str) -> list[Example]:
    """The labelled traffic of a tenant: JSON examples under its key. A later one on the same text replaces the former.

    Raises: Misconfigured where a record is none or there are too few; Unavailable.
    """
    topic = topics.labelled(settings.prefix)
    reader = TopicReader(settings.broker, topic)
    await reader.start()
    try:
        records = [r for r in await reader.read_to_end() if r.key == tenant.encode() and r.value]
    finally:
        await reader.stop()
    given = ((f"{topic}[{r.partition}]@{r.offset}", r.value.decode(errors="replace")) for r in records if r.value)
    found = {one.text: one for one in _checked((place, lambda text=text: json.loads(text)) for place, text in given)}
    if len(found) < 2:
        raise Misconfigured(f"{topic}: {len(found)} labelled utterances of {tenant!r} are too few to train a head")
    return list(found.values())


Line = tuple[str, Any]  # where it stands, and a call that gives its map


def _json_lines(place: Path, text: str) -> Iterator[Line]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{place}:{number}", lambda line=line: json.loads(line)


def _csv(place: Path, text: str) -> Iterator[Line]:
    rows = csv.DictReader(text.splitlines())
    if missing := {"text", "intent"} - set(rows.fieldnames or ()):
        raise Misconfigured(f"{place}:1: the columns {' and '.join(sorted(missing))} are missing from the first line")
    for row in rows:
        entities = row.get("entities") or "[]"
        yield f"{place}:{rows.line_num}", lambda row=row, entities=entities: {
            "text": row["text"], "intent": row["intent"], "entities": json.loads(entities)
        }


def _checked(lines: Iterable[Line]) -> list[Example]:
    found: list[Example] = []
    mistakes: list[str] = []
    for place, read in lines:
        try:
            found.append(_example(read()))
        except (ValueError, KeyError, TypeError) as error:
            mistakes.append(f"{place}: {type(error).__name__}: {error}")
    if mistakes:
        more = f"\n… and {len(mistakes) - SHOWN} more" if len(mistakes) > SHOWN else ""
        raise Misconfigured("\n".join(mistakes[:SHOWN]) + more)
    return found


def _example(body: dict[str, object]) -> Example:
    text, intent, entities = body["text"], body["intent"], body.get("entities", [])
    if not isinstance(text, str) or not text.strip() or not isinstance(intent, str) or not intent:
        raise ValueError("text and intent must be strings that are not empty")
    if not isinstance(entities, list):
        raise ValueError("entities must be a list")
    spans = tuple(sorted((Entity(e["start"], e["end"], str(e["label"])) for e in entities), key=lambda e: e.start))
    end = 0
    for span in spans:
        whole = isinstance(span.start, int) and isinstance(span.end, int)
        if not whole or not end <= span.start < span.end <= len(text):
            raise ValueError(f"entity {span.start}..{span.end} is outside the text, empty, or overlaps another")
        end = span.end
    return Example(text, intent, spans)


def write_jsonl(examples: Iterable[Example], path: Path) -> None:
    """One example a line: `{"text", "intent", "entities": [{"start", "end", "label"}]}`."""
    with path.open("w", encoding="utf-8") as lines:
        for example in examples:
            lines.write(json.dumps(asdict(example), ensure_ascii=False) + "\n")
