"""Amazon Lex: a bot's, intent's or slot type's JSON (V1), or an exported bot (V2), zipped or unpacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from infra.training.formats.format import Format
from infra.training.formats.found import TRAIN, Found
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.segments import joined
from infra.training.formats.source import Source
from infra.training.formats.templates import Filling, pieces_of

DIGITS = {"AMAZON.NUMBER": ["2", "5", "10", "25", "100"]}  # said alike in every language
PARTS = {"sampleUtterances", "enumerationValues", "slotTypeValues", "slotTypeName"}  # of intents, types and slots
BESIDE = {"voiceId", "dataPrivacy", "nluConfidenceThreshold", "metaData"}  # of a bot, its locale and the manifest
Values = list[tuple[str, str, Sequence[str]]]  # (place, value, ways to say it)


def knows(source: Source) -> bool:
    """An export of V1, or a file of one of V2."""
    body = source.document
    if not isinstance(body, dict):
        return False
    about, inside = body.get("metadata"), _inside(source)
    is_export = isinstance(about, dict) and about.get("importType") == "LEX"
    has_intents = any("sampleUtterances" in one for one in maps(inside.get("intents")))
    return is_export or has_intents or bool(PARTS & set(inside)) or bool(BESIDE & set(inside))


def read(sources: Sequence[Source], found: Found) -> None:
    """{Slots} of sample utterances are filled with the values of their types, which become synonyms."""
    types = {name: values for source in sources for name, values in _types(source)}
    slots: dict[PurePosixPath, dict[str, str]] = {}  # of V2, by the folder of their intent
    for source in sources:
        if "slotTypeName" in _inside(source):
            folder = source.inner.parent.parent.parent
            slots.setdefault(folder, {})[str(_inside(source).get("name"))] = str(_inside(source)["slotTypeName"])
    for source in sources:
        for intent in _intents(source):
            own = {str(one.get("name")): str(one.get("slotType")) for one in maps(intent.get("slots"))}
            kinds = {**own, **slots.get(source.inner.parent, {})}
            read_intent(source, intent, kinds, types, found, _language(source))


def _inside(source: Source) -> Mapping[str, Any]:
    body = source.document
    inside = body.get("resource", body)
    return inside if isinstance(inside, dict) else {}


def _intents(source: Source) -> Iterator[Mapping[str, Any]]:
    inside = _inside(source)
    yield from (one for one in [inside, *maps(inside.get("intents"))] if "sampleUtterances" in one and "name" in one)


def _types(source: Source) -> Iterator[tuple[str, Values]]:
    """(name, values) of the slot types of a file."""
    for one in [_inside(source), *maps(_inside(source).get("slotTypes"))]:
        values: Values = []
        for value in maps(one.get("enumerationValues")):
            values.append((source.at(line_of(value)), value.get("value", ""), items(value.get("synonyms"))))
        for value in maps(one.get("slotTypeValues")):
            ways = [str(way.get("value")) for way in maps(value.get("synonyms"))]
            said = value.get("sampleValue")
            values.append((source.at(line_of(value)), said.get("value", "") if isinstance(said, dict) else "", ways))
        if values:
            yield str(one.get("name")), values


def read_intent(
    source: Source, intent: Mapping[str, Any], slots: Mapping[str, str], types: Mapping[str, Values], found: Found,
    language: str,
) -> None:
    """The sample utterances of an intent, filled. `slots`: name → type; `types`: name → values."""
    words: dict[str, list[str]] = {}
    for slot, kind in slots.items():
        for place, value, ways in types.get(kind, ()):
            found.keep(place, [slot], value, ways)
        words[slot] = [way for _, value, ways in types.get(kind, ()) for way in (value, *ways)] or DIGITS.get(
            kind.upper(), [])
    if asked := sum(len(items(slot.get("sampleUtterances"))) for slot in maps(intent.get("slots"))):
        found.notes["answers to a slot's question, which are of no intent and are not kept"] += asked
    filling = Filling(words)
    for number, one in enumerate(items(intent["sampleUtterances"]), 1):
        place = source.at(line_of(one) or line_of(intent["sampleUtterances"]), f"{intent['name']} {number}")
        with found.row(place):
            pieces = pieces_of(one["utterance"] if isinstance(one, dict) else one)
            for label in filling.unknown(pieces):
                what = slots.get(label, label)
                found.notes[f"slots said by their names in sample utterances, as no file has values of {what}"] += 1
            for filled in filling.rows(pieces):
                text, spans = joined(filled)
                found.add(place, text, str(intent["name"]), spans, TRAIN, language)
            if len(pieces) > 1:
                found.notes["sample utterances with {slots}, filled with up to five values each"] += 1


def _language(source: Source) -> str:
    """The locale that the file names (V1), or that its path does (V2: BotLocales/en_US/…)."""
    parts = source.inner.parts
    inner = next((after for before, after in pairwise(parts) if before == "BotLocales"), "")
    return str(_inside(source).get("locale") or inner)


LEX = Format("lex", knows, read)
