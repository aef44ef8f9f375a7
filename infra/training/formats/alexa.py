"""Alexa: a skill's interaction model, a file for each locale (`models/en-US.json`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.lex import Values, read_intent
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.source import LANGUAGE, Source


def knows(source: Source) -> bool:
    """Intents with samples, in a language model or, in old skills, at the top."""
    return any("samples" in one for one in maps(_model(source).get("intents")))


def read(sources: Sequence[Source], found: Found) -> None:
    """{slots} of samples are filled with the values of their types, which become synonyms."""
    for source in sources:
        model = _model(source)
        types = {str(one.get("name")): _values(source, one) for one in maps(model.get("types"))}
        language = source.inner.stem if LANGUAGE.match(source.inner.stem) else ""
        for intent in maps(model["intents"]):
            if "samples" in intent and "name" in intent:
                slots = [{**one, "sampleUtterances": one.get("samples")} for one in maps(intent.get("slots"))]
                own = {str(one.get("name")): str(one.get("type")) for one in slots}
                said = {**intent, "sampleUtterances": intent["samples"], "slots": slots}
                read_intent(source, said, own, types, found, language)


def _model(source: Source) -> Mapping[str, Any]:
    body = source.document
    for key in ("interactionModel", "languageModel"):
        body = body.get(key, body) if isinstance(body, dict) else {}
    return body if isinstance(body, dict) else {}


def _values(source: Source, kind: Mapping[str, Any]) -> Values:
    found: Values = []
    for one in maps(kind.get("values")):
        name = one.get("name")
        inside = name if isinstance(name, dict) else one
        ways = [way for way in items(inside.get("synonyms")) if isinstance(way, str)]
        found.append((source.at(line_of(one)), str(inside.get("value") or ""), ways))
    return found


ALEXA = Format("alexa", knows, read)
