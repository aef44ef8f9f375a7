"""Labelled utterances: what an example is, which are refused and why, and the topic of labelled traffic."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from infra.training.offsets import UNITS, better_fit, in_characters, is_same
from topology import topics
from topology.errors import Misconfigured
from topology.heads import MAX_LABEL_CHARS
from topology.settings import Settings
from topology.stream.kafka import TopicReader

OUT_OF_SCOPE = "out_of_scope"  # the intent of examples that belong to none of the tenant's
SHOWN = 10


@dataclass(frozen=True)
class Entity:
    """Characters `start` to `end` (exclusive) of an example's text."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Example:
    """An utterance, what it asks for, and its entities in the order of the text.

    `source`: where it was read. Lines that were made of one template share it: they are alike.
    """

    text: str
    intent: str
    entities: tuple[Entity, ...] = ()
    source: str = field(default="", compare=False, repr=False)


class RowFault(ValueError):
    """A row that cannot be an example. `kind`: overlap (of spans), offsets (that count something else), or row."""

    def __init__(self, reason: str, kind: str = "row") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Record:
    """An example as a line of JSON gave it. `trimmed`: spans whose outer blanks were cut off.

    `meant`: (label, value, what the text says) of entities whose value is another word for what the text says.
    """

    example: Example
    trimmed: int = 0
    meant: tuple[tuple[str, str, str], ...] = ()


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
    found: dict[str, Example] = {}
    mistakes: list[str] = []
    for record in records:
        try:
            one = record_of(json.loads((record.value or b"").decode(errors="replace"))).example
            found[one.text] = one
        except (ValueError, RecursionError) as error:
            mistakes.append(f"{topic}[{record.partition}]@{record.offset}: {error}")
    if mistakes:
        raise Misconfigured(listed(mistakes))
    if len(found) < 2:
        raise Misconfigured(f"{topic}: {len(found)} labelled utterances of {tenant!r} are too few to train a head")
    return list(found.values())


def listed(lines: Sequence[str], shown: int = SHOWN) -> str:
    """The first lines, and how many more there are."""
    more = [f"… and {len(lines) - shown:,} more"] if len(lines) > shown else []
    return "\n".join([*lines[:shown], *more])


def record_of(body: Any, unit: str = "characters") -> Record:
    """The example that a map of `text`, `intent` and `entities` stands for. `unit`: what its offsets count.

    Raises: RowFault, with a reason that a person can act on.
    """
    if not isinstance(body, dict):
        raise RowFault("a map of text, intent and entities is wanted")
    text, entities = body.get("text"), body.get("entities", [])
    if not isinstance(text, str):
        raise RowFault("text is missing, or is no string")
    if not isinstance(entities, list) or not all(isinstance(one, dict) for one in entities):
        raise RowFault("entities must be a list of maps of start, end and label")
    spans, meant = [], []
    for one in entities:
        span = _entity(text, one, unit)
        value = one.get("value")
        if isinstance(value, str) and not is_same(said := text[span.start : span.end], value):
            if fit := better_fit(text, span.start, span.end, value):
                where = f"text[{span.start}:{span.end}]"
                raise RowFault(f"{where} is {said!r}, not {value!r}, the value of {span.label}; {fit}", "offsets")
            meant.append((span.label, value, said.strip()))
        spans.append(span)
    found, trimmed = checked(text, body.get("intent"), spans)
    return Record(found, trimmed, tuple(meant))


def _entity(text: str, one: dict[str, Any], unit: str) -> Entity:
    """Raises: RowFault."""
    if "label" not in one and "entity" in one:
        raise RowFault('an entity has the key "entity" where "label" is wanted')
    label, start, end = one.get("label"), one.get("start"), one.get("end")
    if not isinstance(label, str) or not label.strip():
        raise RowFault(f"an entity's label must be a string that is not empty, not {label!r}")
    if type(start) is not int or type(end) is not int:
        raise RowFault(f"start and end of {label} must be whole numbers, not {start!r} and {end!r}")
    found = in_characters(text, start, end, unit) if 0 <= start < end else None
    if found is None:
        value = one.get("value")
        hint = better_fit(text, start, end, value) if isinstance(value, str) and 0 <= start < end else ""
        hint = hint or next((f"{name} would lie in it" for other, name in UNITS.items()
                             if 0 <= start < end and in_characters(text, start, end, other)), "")
        raise RowFault(f"entity {start}..{end} ({label}) is empty or outside the text{hint and f'; {hint}'}",
                       "offsets" if hint else "row")
    return Entity(*found, label.strip())


def checked(text: Any, intent: Any, spans: Iterable[Entity]) -> tuple[Example, int]:
    """(the example, how many of its spans had blanks around, which are cut off). Raises: RowFault."""
    if not isinstance(text, str) or not text.strip():
        raise RowFault("the text is empty")
    if not isinstance(intent, str) or not intent.strip():
        raise RowFault("the intent is missing or empty")
    for name in (intent, *(one.label for one in spans)):
        if len(name) > MAX_LABEL_CHARS:
            raise RowFault(f"the label {name[:40]!r}… has more than {MAX_LABEL_CHARS} characters")
    for kind in (text, intent, *(one.label for one in spans)):
        if any("\ud800" <= letter <= "\udfff" for letter in kind):
            raise RowFault(_surrogate(kind))
    kept = sorted((_trimmed(text, one) for one in spans), key=lambda one: one.start)
    for before, one in zip([None, *kept], kept, strict=False):
        if not 0 <= one.start < one.end <= len(text):
            raise RowFault(f"entity {one.start}..{one.end} ({one.label}) is blank or outside the text")
        if before is not None and before.end > one.start:
            raise RowFault(f"entity {one.start}..{one.end} ({one.label}) overlaps {before.start}..{before.end} "
                           f"({before.label})", "overlap")
    trimmed = sum(one not in kept for one in spans)
    return Example(text, intent.strip(), tuple(kept)), trimmed


def _trimmed(text: str, one: Entity) -> Entity:
    said = text[one.start : one.end]
    if not said.strip():
        return one
    return Entity(one.start + len(said) - len(said.lstrip()), one.end - len(said) + len(said.rstrip()), one.label)


def _surrogate(text: str) -> str:
    """Why a string with half a surrogate pair is refused: a byte that was no UTF-8 was read as one, from U+DC80 on."""
    one = next(letter for letter in text if "\ud800" <= letter <= "\udfff")
    at = text.index(one)
    before = text[max(0, at - 20) : at]
    if "\udc80" <= one <= "\udcff":
        return f"the byte 0x{ord(one) - 0xDC00:02x} after {before!a} is no UTF-8: --encoding names the file's own"
    return f"half a surrogate pair, \\u{ord(one):04x}, stands after {before!a}"


def write_jsonl(examples: Iterable[Example], path: Path) -> None:
    """One example a line: `{"text", "intent", "entities": [{"start", "end", "label"}]}`."""
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(f"{line_of(example)}\n" for example in examples)


def line_of(example: Example) -> str:
    """The example as a line of JSON."""
    body = asdict(example)
    del body["source"]
    return json.dumps(body, ensure_ascii=False)
