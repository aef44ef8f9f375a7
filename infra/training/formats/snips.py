"""Snips: a file an intent of labelled segments (the 2017 benchmark), or a whole assistant's dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.placed_json import line_of, maps
from infra.training.formats.segments import joined
from infra.training.formats.source import Source


def knows(source: Source) -> bool:
    """A map of intents to lists of {"data": [...]}, or to {"utterances": [...]} below "intents"."""
    body = source.document
    return isinstance(body, dict) and any(True for _ in _utterances(body))


def read(sources: Sequence[Source], found: Found) -> None:
    """Segments are joined as they stand."""
    whole = {source.inner for source in sources}
    for source in sources:
        if source.inner.with_stem(f"{source.inner.stem}_full") in whole:
            found.notes["files left out whose rows stand in NAME_full.json too"] += 1
            continue
        # The benchmark's authors publish what they test on as validate_INTENT.json.
        split = "test" if source.inner.name.startswith("validate") else source.split
        language = source.document.get("language") if "intents" in source.document else ""
        for intent, number, one in _utterances(source.document):
            place = source.at(line_of(one), f"{intent} {number}")
            with found.row(place):
                pieces = [(piece["text"], _label(piece)) for piece in one["data"]]
                text, spans = joined(pieces)
                found.add(place, text, intent, spans, split, language if isinstance(language, str) else "")
        _values(source, found)


def _label(piece: Mapping[str, Any]) -> str:
    return str(piece.get("slot_name") or piece.get("entity") or "")


def _utterances(body: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """(intent, number from 1, the utterance)."""
    intents = body["intents"] if isinstance(body.get("intents"), dict) else body
    for intent, inside in intents.items():
        rows = inside.get("utterances") if isinstance(inside, dict) else inside
        if isinstance(rows, list) and any(isinstance(one, dict) and "data" in one for one in rows):
            yield from ((intent, number, one) for number, one in enumerate(rows, 1))


def _values(source: Source, found: Found) -> None:
    """The values of a dataset's entities, for each slot that is of the entity."""
    entities = source.document.get("entities")
    if not isinstance(entities, dict):
        return
    slots: dict[str, set[str]] = {}
    for _, _, one in _utterances(source.document):
        for piece in maps(one.get("data") if isinstance(one, dict) else None):
            if piece.get("entity"):
                slots.setdefault(str(piece["entity"]), set()).add(_label(piece))
    for name, entity in entities.items():
        for one in maps(entity.get("data") if isinstance(entity, dict) else None):
            labels = sorted(slots.get(name, {name}))
            ways = one.get("synonyms", ()) if entity.get("use_synonyms", True) else ()
            found.keep(source.at(line_of(one)), labels, one.get("value"), ways)


SNIPS = Format("snips", knows, read)
