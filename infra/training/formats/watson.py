"""Watson Assistant: a skill's JSON. (Its CSV is read as any other.)"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.segments import joined
from infra.training.formats.source import Source
from infra.training.formats.templates import Filling, pieces_of

NAMED = re.compile(r"(?<!\S)@([\w-]+)(?::\(?[\w -]+\)?)?")  # @room, @room:attic


def knows(source: Source) -> bool:
    """Intents with examples."""
    body = source.document
    return isinstance(body, dict) and any(
        "intent" in one and "examples" in one for one in maps(_workspace(body).get("intents"))
    )


def _workspace(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A dialog skill is one itself; a skill of actions holds one."""
    inside = body.get("workspace", body)
    return inside if isinstance(inside, dict) else {}


def _titles(body: Mapping[str, Any]) -> dict[str, str]:
    """What people call the intents of actions, which have names such as action_123_intent_456."""
    conditions = [(one.get("condition"), one.get("title")) for one in maps(body.get("actions"))]
    return {str(condition["intent"]): str(title) for condition, title in conditions
            if isinstance(condition, dict) and "intent" in condition and title}


def read(sources: Sequence[Source], found: Found) -> None:
    """Mentions are spans; counterexamples are out of scope; an entity's values come along."""
    for source in sources:
        body = _workspace(source.document)
        language, titles = str(source.document.get("language") or body.get("language") or ""), _titles(body)
        entities = {str(one.get("entity")): maps(one.get("values")) for one in maps(body.get("entities"))}
        intents = [(str(one.get("intent")), items(one.get("examples"))) for one in maps(body["intents"])]
        rows = [(titles.get(intent, intent), row) for intent, examples in intents for row in examples]
        rows += [(OUT_OF_SCOPE, row) for row in items(body.get("counterexamples"))]
        filling = Filling({
            name: [str(word) for one in values for word in (one.get("value"), *(one.get("synonyms") or ()))]
            for name, values in entities.items()
        })
        for intent, example in rows:
            place = source.at(line_of(example), intent)
            with found.row(place):
                text = example["text"]
                spans = [(*one["location"], str(one["entity"])) for one in maps(example.get("mentions"))]
                if spans or not any(name in entities for name in NAMED.findall(text)):
                    found.add(place, text, intent, spans, source.split, language)
                    continue
                found.notes["rows that name an @entity, filled with up to five of its values each"] += 1
                for pieces in filling.rows(pieces_of(text, NAMED)):
                    text, spans = joined(pieces)
                    found.add(place, text, intent, spans, source.split, language)
        found.listed |= set(entities)
        for name, values in entities.items():
            for one in values:
                if patterns := items(one.get("patterns")):
                    found.notes[f"regular expressions that are not used here ({name})"] += len(patterns)
                    continue
                found.keep(source.at(line_of(one)), [name], one.get("value"), one.get("synonyms") or ())


WATSON = Format("watson", knows, read)
