"""wit.ai: an app's backup, zipped or unpacked, utterances as its API gives them, and old `expressions.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import TRAIN, Found, Span
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.placing import said_at
from infra.training.formats.segments import without_covers
from infra.training.formats.source import Source


def knows(source: Source) -> bool:
    """Utterances with traits or with entities that have a body, an entity's keywords, or app.json."""
    body = source.document
    if isinstance(body, dict) and "lookups" in body and ({"keywords", "roles"} & set(body)):
        return True
    is_app = source.inner.name == "app.json" and isinstance(body, dict) and "lang" in body
    return is_app or any(
        "text" in one and ("traits" in one or any(_is_ours(entity) for entity in maps(one.get("entities"))))
        for one in maps(_rows(source))
    )


def _is_ours(entity: Mapping[str, Any]) -> bool:
    value = entity.get("value")
    is_intent = entity.get("entity") == "intent" and "start" not in entity
    return "body" in entity or (isinstance(value, str) and (is_intent or value[:1] == '"'))


def read(sources: Sequence[Source], found: Found) -> None:
    """Utterances without an intent are out of scope, as wit.ai has them. Keywords become synonyms."""
    bodies = [source.document for source in sources if isinstance(source.document, dict)]
    language = next((str(body["lang"]) for body in bodies if "lang" in body), "")
    labels: dict[str, set[str]] = {}
    some = any(_intent(one) for source in sources for one in maps(_rows(source)))
    for source in sources:
        for number, one in enumerate(_rows(source), 1):
            place = source.at(line_of(one), f"{number}")
            with found.row(place):
                text, intent = one["text"], _intent(one)
                if not some:  # an app of entities alone
                    intent = found.or_unnamed(intent)
                if not intent and not found.options.intent:
                    found.notes["rows without an intent, which wit.ai has as out of scope"] += 1
                    intent = OUT_OF_SCOPE
                spans = without_covers(_spans(text, one, labels, found))
                found.add(place, text, intent, spans, TRAIN, language)
    for source in sources:
        body = source.document
        name = str(body.get("name") or body.get("id")) if isinstance(body, dict) else ""
        for one in maps(body.get("keywords") if isinstance(body, dict) else None):
            found.keep(source.at(line_of(one)), sorted(labels.get(name, {name.removeprefix("wit$")})),
                       one.get("keyword"), items(one.get("synonyms")))


def _rows(source: Source) -> list[Any]:
    body = source.document
    if isinstance(body, dict):
        return items(body.get("utterances", body.get("data")))
    return items(body)


def _intent(one: Mapping[str, Any]) -> str | None:
    intent = one.get("intent")
    old = [str(e.get("value")).strip('"') for e in maps(one.get("entities")) if e.get("entity") == "intent"]
    return intent.get("name") if isinstance(intent, dict) else intent or (old[0] if old else None)


def _spans(text: str, one: Mapping[str, Any], labels: dict[str, set[str]], found: Found) -> Iterator[Span]:
    for entity in maps(one.get("entities")):
        if "start" not in entity:
            continue
        name, _, role = str(entity.get("entity") or entity.get("name")).partition(":")
        role = role or str(entity.get("role") or "")
        short = name.removeprefix("wit$")
        label = f"{short}.{role}" if role and role != short else short
        labels.setdefault(name, set()).add(label)
        place = said_at(text, entity["start"], entity["end"], entity.get("body"), found.options.offsets)
        value = entity.get("value")
        if "body" not in entity and isinstance(value, str):  # old: the value, as JSON in a string
            try:
                value = json.loads(value)
            except ValueError:
                value = None
            if isinstance(value, str) and value.casefold() != text[place[0] : place[1]].casefold():
                found.mean(label, value, text[place[0] : place[1]])
        yield *place, label


WIT = Format("wit", knows, read)
