"""Dialogflow ES: an exported agent, zipped or unpacked, or single files of what users say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import TRAIN, Found
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.segments import joined
from infra.training.formats.source import Source, source_of
from infra.training.formats.templates import Filling, pieces_of

PARTS = re.compile(r"^(?P<name>.+?)_(?P<kind>usersays|entries)_(?P<lang>[A-Za-z-]+)$")
OTHERS = {"supportedLanguages", "isOverridable", "fallbackIntent", "isRegexp"}  # of agent, entity and intent files
IGNORED = "@sys.ignore"
NAMED = re.compile(r"@([\w.-]*\w)(?::([\w-]+))?")  # @city:to, as templates say it
ALIAS = re.compile(r"@([\w-]+)")
Piece = tuple[str, str, str]  # text, alias, meta
Entry = tuple[str, str, str, list[str]]  # entity, place, value, ways to say it
SYSTEM = "@sys."


def knows(source: Source) -> bool:
    """What users say, an entity's entries, or the files beside them that name and describe."""
    body = source.document
    if isinstance(body, dict):
        return "userSays" in body or bool(OTHERS & set(body)) or set(body) == {"version"}  # of package.json
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
    entries = [one for source in sources for one in _entries(source, about, found)]
    filling, labels = Filling({}), dict[str, set[str]]()
    for name, _, value, ways in entries:
        filling.values[name] = list(dict.fromkeys([*filling.values.get(name, ()), value, *ways]))
    for source in sources:
        for intent, rows, language in _said(source, about, found):
            for number, said in enumerate(rows, 1):
                place = source.at(line_of(said), f"{number}")
                with found.row(place):
                    for pieces in _filled(said, filling, found):
                        text, spans = joined([(one[0], _label(one, found, labels)) for one in pieces])
                        found.add(place, text, intent, spans, TRAIN, language)
    for name, place, value, ways in entries:
        found.keep(place, sorted(labels.get(name, {name})), value, ways)


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


def _said(source: Source, about: Mapping[PurePosixPath, Any], found: Found) -> Iterator[tuple[str, list[Any], str]]:
    """(intent, what users say, language), from a file of its own or, in old exports, from inside the intent's."""
    body = source.document
    name, _, language = _parts(source)
    inside = body if isinstance(body, dict) else about.get(source.inner.with_name(f"{name}.json"), {})
    rows = items(body.get("userSays")) if isinstance(body, dict) else [one for one in body if "data" in one]
    if rows:
        if inside.get("contexts"):
            found.notes["intents that need a context, which is not kept: their short texts may be another's too"] += 1
        intent = OUT_OF_SCOPE if inside.get("fallbackIntent") else str(inside.get("name", name))
        yield intent, rows, language


def _filled(one: Mapping[str, Any], filling: Filling, found: Found) -> Iterator[list[Piece]]:
    """The (text, alias, meta) segments of a sentence: of several, where it is a template."""
    pieces = [(piece["text"], str(piece.get("alias") or ""), str(piece.get("meta") or "")) for piece in one["data"]]
    if not one.get("isTemplate"):
        yield pieces
        return
    found.notes["templates, filled with up to five of their entities' values each"] += 1
    whole = "".join(text for text, _, _ in pieces)
    names = {match[2] or match[1].removeprefix("sys."): match[1] for match in NAMED.finditer(whole)}
    for alias, entity in names.items():
        filling.values.setdefault(alias, filling.values.get(entity, []))
    short = NAMED.sub(lambda one: f"@{one[2] or one[1].removeprefix('sys.')}", whole)
    for row in filling.rows(pieces_of(short, ALIAS)):
        yield [(text, alias, f"@{names[alias]}" if alias else "") for text, alias in row]


def _label(piece: Piece, found: Found, labels: dict[str, set[str]]) -> str:
    _, alias, meta = piece
    label = "" if meta == IGNORED else alias or meta.removeprefix("@")
    if label and meta.startswith(SYSTEM):
        found.notes[f"spans of the system entity {meta}, kept as the label {label!r}"] += 1
    elif label and meta:
        labels.setdefault(meta.removeprefix("@"), set()).add(label)
    return label


def _entries(source: Source, about: Mapping[PurePosixPath, Any], found: Found) -> Iterator[Entry]:
    """The values of an entity, from a file of its own or, in old exports, from inside the entity's."""
    own, kind, _ = _parts(source)
    body = source.document
    inside = body if isinstance(body, dict) else about.get(source.inner.with_name(f"{own}.json"), {})
    rows = items(body.get("entries")) if isinstance(body, dict) else [] if kind == "usersays" else body
    name = str(inside.get("name") or own)
    for one in maps(rows):
        place = source.at(line_of(one))
        with found.row(place):
            if "synonyms" not in one:
                continue
            value, ways = str(one["value"]), [str(way) for way in items(one["synonyms"])]
            if inside.get("isRegexp"):
                found.notes[f"regular expressions that are not used here ({name})"] += 1
            elif NAMED.search(value):
                found.notes[f"values that are made of other entities, which are not kept ({name})"] += 1
            else:
                yield name, place, value, ways


DIALOGFLOW = Format("dialogflow", knows, read)
