"""Dialogflow ES: an exported agent, zipped or unpacked, or single files of what users say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.segments import joined
from infra.training.formats.source import Source, source_of

PARTS = re.compile(r"^(?P<name>.+?)_(?P<kind>usersays|entries)_(?P<lang>[A-Za-z-]+)$")
OTHERS = {"supportedLanguages", "isOverridable", "fallbackIntent", "isRegexp"}  # of agent, entity and intent files
IGNORED = "@sys.ignore"
SYSTEM = "@sys."


def knows(source: Source) -> bool:
    """What users say, an entity's entries, or the files beside them that name and describe."""
    body = source.document
    if isinstance(body, dict):
        return "userSays" in body or bool(OTHERS & set(body)) or source.inner.name == "package.json"
    if not isinstance(body, list) or not body or not all(isinstance(one, dict) for one in body):
        return False
    return any(isinstance(one.get("data"), list) for one in body) or all(
        "value" in one and isinstance(one.get("synonyms"), list) for one in body
    )


def read(sources: Sequence[Source], found: Found) -> None:
    """`alias` is the label. A fallback intent's sentences are out of scope. Entries become synonyms of the labels whose
    `meta` names their entity."""
    about = {source.inner: source.document for source in sources if isinstance(source.document, dict)}
    for source in sources:
        about.update(_beside(source, about))
    labels: dict[str, set[str]] = {}
    for source in sources:
        for intent, rows, language in _said(source, about):
            for number, one in enumerate(rows, 1):
                place = source.at(line_of(one), f"{number}")
                with found.row(place):
                    _take(place, one, intent, language, source, found, labels)
    for source in sources:
        name, kind, _ = _parts(source)
        body, inside = source.document, about.get(source.inner.with_name(f"{name}.json"), {})
        if isinstance(body, dict):
            _entries(source, items(body.get("entries")), body, found, labels)
        elif kind != "usersays" and "synonyms" in body[0]:
            _entries(source, body, inside, found, labels)


def _parts(source: Source) -> tuple[str, str, str]:
    """(name, kind, language) that the file's name tells."""
    match = PARTS.match(source.inner.stem)
    return (match["name"], match["kind"], match["lang"]) if match else (source.inner.stem, "", "")


def _beside(source: Source, about: Mapping[PurePosixPath, Any]) -> dict[PurePosixPath, Any]:
    """The file that names a single one's intent or entity, where it stands beside it and was not given."""
    name, kind, _ = _parts(source)
    inner = source.inner.with_name(f"{name}.json")
    place = source.place.with_name(inner.name) if source.place else None
    if not kind or inner in about or place is None or not place.is_file():
        return {}
    body = source_of(place.read_bytes(), str(place), inner).document
    return {inner: body} if isinstance(body, dict) else {}


def _said(source: Source, about: Mapping[PurePosixPath, Any]) -> Iterator[tuple[str, list[Any], str]]:
    """(intent, what users say, language), from a file of its own or, in old exports, from inside the intent's."""
    body = source.document
    name, _, language = _parts(source)
    inside = body if isinstance(body, dict) else about.get(source.inner.with_name(f"{name}.json"), {})
    rows = items(body.get("userSays")) if isinstance(body, dict) else [one for one in body if "data" in one]
    if rows:
        intent = OUT_OF_SCOPE if inside.get("fallbackIntent") else str(inside.get("name", name))
        yield intent, rows, language


def _take(
    place: str, one: Mapping[str, Any], intent: str, language: str, source: Source, found: Found,
    labels: dict[str, set[str]],
) -> None:
    if one.get("isTemplate"):
        raise ValueError("a template, whose words are names of entities")
    pieces = []
    for piece in one["data"]:
        meta = str(piece.get("meta") or "")
        label = "" if meta == IGNORED else str(piece.get("alias") or meta.removeprefix("@"))
        pieces.append((piece["text"], label))
        if label and meta.startswith(SYSTEM):
            found.notes[f"spans of the system entity {meta}, kept as the label {label!r}"] += 1
        elif label and meta:
            labels.setdefault(meta.removeprefix("@"), set()).add(label)
    text, spans = joined(pieces)
    found.add(place, text, intent, spans, source.split, language)


def _entries(
    source: Source, rows: Sequence[Any], inside: Mapping[str, Any], found: Found, labels: Mapping[str, set[str]]
) -> None:
    name = str(inside.get("name") or _parts(source)[0])
    if inside.get("isRegexp"):
        found.notes[f"regular expressions that are not used here ({name})"] += len(rows)
        return
    for one in maps(rows):
        place = source.at(line_of(one))
        found.keep(place, sorted(labels.get(name, {name})), one.get("value"), one.get("synonyms", ()))


DIALOGFLOW = Format("dialogflow", knows, read)
