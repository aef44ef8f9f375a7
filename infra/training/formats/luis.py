"""LUIS: an app's JSON, or its labelled utterances as a list or as lines. `endPos` is the last character's place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import Found, Span
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.placing import placed
from infra.training.formats.segments import without_covers
from infra.training.formats.source import Source

UNUSED = ("patterns", "regex_entities", "regex_features", "phraselists")
TEST_SET = "LabeledTestSetUtterances"
NONE = "none"  # the intent of what belongs to no other, in every LUIS app


def knows(source: Source) -> bool:
    """An app, a labelled test set, or utterances with startPos."""
    body = source.document
    if isinstance(body, dict) and ({"luis_schema_version", TEST_SET} & set(body)):
        return True
    return any("startPos" in entity for line in source.lines for entity in maps(line.body.get("entities")))


def read(sources: Sequence[Source], found: Found) -> None:
    """`None` becomes `out_of_scope`; list entities become synonyms; of nested entities the innermost are kept."""
    for source in sources:
        app = source.document if isinstance(source.document, dict) else {}
        app = {**app, "utterances": app[TEST_SET]} if TEST_SET in app else app if "utterances" in app else {}
        culture = str(app.get("culture") or "")
        for line, item, one in _utterances(source, app):
            place = source.at(line, item)
            with found.row(place):
                if isinstance(one, str):
                    raise ValueError(one)
                text, intent = one.get("text"), one.get("intent", one.get("intentName"))
                if not isinstance(text, str):
                    raise ValueError("text is missing, or is no string")
                if isinstance(intent, str) and intent.casefold() == NONE:
                    intent = OUT_OF_SCOPE
                found.add(place, text, intent, _spans(text, one, found), source.split, culture)
        for entity in maps(app.get("closedLists")):
            found.listed.add(str(entity.get("name")))
            for one in maps(entity.get("subLists")):
                place = source.at(line_of(one))
                found.keep(place, [str(entity.get("name"))], one.get("canonicalForm"), one.get("list", ()))
        for kind in UNUSED:
            if unused := items(app.get(kind)):
                found.notes[f"{kind} that are not used here"] += len(unused)


def _utterances(source: Source, app: Mapping[str, Any]) -> Iterator[tuple[int, str, Any]]:
    """(line, what it is called, the utterance, or what is wrong with its line)."""
    if app:
        yield from ((line_of(one), f"utterances {i}", one) for i, one in enumerate(items(app["utterances"]), 1))
    else:
        yield from ((line.number, "", line.fault or line.body) for line in source.lines)


def _spans(text: str, one: Mapping[str, Any], found: Found) -> list[Span]:
    flat: list[Span] = []
    for entity in _nested(one.get("entities")):
        start, end = entity["startPos"], entity["endPos"] + 1
        role = entity.get("role")
        label = f"{entity['entity']}.{role}" if role else str(entity["entity"])
        flat.append((*placed(text, start, end, found.options.offsets), label))
    kept = without_covers(flat)
    if len(kept) < len(flat):
        found.notes["entities left out that hold others"] += len(flat) - len(kept)
    return kept


def _nested(entities: Any) -> Iterator[dict[str, Any]]:
    for entity in maps(entities):
        yield entity
        yield from _nested(entity.get("children"))


LUIS = Format("luis", knows, read)
