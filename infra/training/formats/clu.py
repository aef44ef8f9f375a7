"""Conversational Language Understanding, LUIS's successor: a project's JSON. Spans are an offset and a length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.luis import NONE
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.placing import placed
from infra.training.formats.segments import without_covers
from infra.training.formats.source import SPLITS, Source


def knows(source: Source) -> bool:
    """A project with assets."""
    body = source.document
    return isinstance(body, dict) and isinstance(body.get("assets"), dict) and "utterances" in body["assets"]


def read(sources: Sequence[Source], found: Found) -> None:
    """`None` becomes `out_of_scope`; lists become synonyms; of nested entities the innermost are kept."""
    for source in sources:
        assets, about = source.document["assets"], source.document.get("metadata")
        known = about.get("language") if isinstance(about, dict) else ""
        for number, one in enumerate(items(assets["utterances"]), 1):
            place = source.at(line_of(one), f"utterances {number}")
            with found.row(place):
                text, intent = one["text"], one.get("intent")
                spans = [
                    (*placed(text, e["offset"], e["offset"] + e["length"], found.options.offsets), str(e["category"]))
                    for e in maps(one.get("entities"))
                ]
                intent = OUT_OF_SCOPE if isinstance(intent, str) and intent.casefold() == NONE else intent
                split = SPLITS.get(str(one.get("dataset", "")).lower(), source.split)
                language = str(one.get("language") or known or "")
                found.add(place, text, intent, without_covers(spans), split, language)
        for entity in maps(assets.get("entities")):
            if entity.get("regex"):
                found.notes[f"regular expressions that are not used here ({entity.get('category')})"] += 1
            _values(source, entity, found)


def _values(source: Source, entity: Mapping[str, Any], found: Found) -> None:
    lists = entity.get("list")
    if isinstance(lists, dict):
        found.listed.add(str(entity.get("category")))
    for one in maps(lists.get("sublists") if isinstance(lists, dict) else None):
        ways = [way for words in maps(one.get("synonyms")) for way in items(words.get("values"))]
        found.keep(source.at(line_of(one)), [str(entity.get("category"))], one.get("listKey"), ways)


CLU = Format("clu", knows, read)
