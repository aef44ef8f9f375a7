"""Watson Assistant: a skill's JSON. (Its CSV is read as any other.)"""

from __future__ import annotations

import re
from collections.abc import Sequence

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.luis import maps
from infra.training.formats.placed_json import line_of
from infra.training.formats.source import Source


def knows(source: Source) -> bool:
    """Intents with examples."""
    body = source.document
    return isinstance(body, dict) and any("intent" in one and "examples" in one for one in maps(body.get("intents")))


def read(sources: Sequence[Source], found: Found) -> None:
    """Mentions are spans; counterexamples are out of scope; an entity's values come along."""
    for source in sources:
        body = source.document
        language = str(body.get("language") or "")
        entities = {str(one.get("entity")): maps(one.get("values")) for one in maps(body.get("entities"))}
        rows = [(str(one["intent"]), example) for one in maps(body["intents"]) for example in maps(one.get("examples"))]
        rows += [(OUT_OF_SCOPE, example) for example in maps(body.get("counterexamples"))]
        for intent, example in rows:
            place = source.at(line_of(example), intent)
            with found.row(place):
                text = example["text"]
                if named := [name for name in re.findall(r"(?<!\S)@([\w-]+)", text) if name in entities]:
                    raise ValueError(f"it names the entity @{named[0]} where an utterance says one of its values")
                spans = [(*one["location"], str(one["entity"])) for one in maps(example.get("mentions"))]
                found.add(place, text, intent, spans, source.split, language)
        for name, values in entities.items():
            for one in values:
                for way in ["", *(one.get("synonyms") or [])]:
                    found.mean(name, str(one.get("value")), str(way))


WATSON = Format("watson", knows, read)
