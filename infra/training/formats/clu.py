"""Conversational Language Understanding, LUIS's successor: a project's JSON. Spans are an offset and a length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.luis import NONE, maps, placed
from infra.training.formats.placed_json import line_of
from infra.training.formats.segments import without_covers
from infra.training.formats.source import SPLITS, Source


def knows(source: Source) -> bool:
    """A project with assets."""
    body = source.document
    return isinstance(body, dict) and isinstance(body.get("assets"), dict) and "utterances" in body["assets"]


def read(sources: Sequence[Source], found: Found) -> None:
    """`None` becomes `out_of_scope`; lists become synonyms; of nested entities the innermost are kept."""
    for source in sources:
        assets, about = source.document["assets"], source.document.get("metadata", {})
        for number, one in enumerate(assets["utterances"], 1):
            place = source.at(line_of(one), f"utterances {number}")
            with found.row(place):
                text, intent = one["text"], one.get("intent")
                spans = [
                    (*placed(text, e["offset"], e["offset"] + e["length"], found.options.offsets), str(e["category"]))
                    for e in maps(one.get("entities"))
                ]
                intent = OUT_OF_SCOPE if isinstance(intent, str) and intent.casefold() == NONE else intent
                split = SPLITS.get(str(one.get("dataset", "")).lower(), source.split)
                language = str(one.get("language") or about.get("language") or "")
                found.add(place, text, intent, without_covers(spans), split, language)
        for entity in maps(assets.get("entities")):
            _values(entity, found)


def _values(entity: Mapping[str, Any], found: Found) -> None:
    lists = entity.get("list")
    for one in maps(lists.get("sublists") if isinstance(lists, dict) else None):
        for words in maps(one.get("synonyms")):
            for way in ["", *words.get("values", [])]:
                found.mean(str(entity.get("category")), str(one.get("listKey")), str(way))


CLU = Format("clu", knows, read)
