"""Snips NLU's YAML: intents with `[slot:entity](words)` in their utterances, and entities with values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.placed_json import items, maps
from infra.training.formats.segments import joined
from infra.training.formats.source import Source
from topology.errors import Misconfigured

TYPE = re.compile(r"^type\s*:\s*(intent|entity)\b", re.MULTILINE)
MARK = re.compile(r"\[([^\]\s:]+)(?::([^\]]+))?\]\(([^)]*)\)")


def knows(source: Source) -> bool:
    """`type: intent` or `type: entity` at the top."""
    return TYPE.search(source.text) is not None


def read(sources: Sequence[Source], found: Found) -> None:
    """Values of entities become synonyms of the slots that are of the entity."""
    documents = [(source, one) for source in sources for one in _documents(source)]
    labels: dict[str, set[str]] = {}
    for source, body in documents:
        if body.get("type") == "intent":
            for slot in maps(body.get("slots")):
                labels.setdefault(str(slot.get("entity")), set()).add(str(slot.get("name")))
            for number, said in enumerate(items(body.get("utterances")), 1):
                place = source.at(_line(source, said), f"{body.get('name')} {number}")
                with found.row(place):
                    pieces: list[tuple[str, str]] = []
                    at = 0
                    for mark in MARK.finditer(said):
                        pieces += [(said[at : mark.start()], ""), (mark[3], mark[1])]
                        labels.setdefault(mark[2] or mark[1], set()).add(mark[1])
                        at = mark.end()
                    text, spans = joined([*pieces, (said[at:], "")])
                    found.add(place, text, body.get("name"), spans, source.split, source.language)
    for source, body in documents:
        name = str(body.get("name"))
        for one in items(body.get("values")) if body.get("type") == "entity" else ():
            value, *ways = one if isinstance(one, list) and one else [one]
            place = source.at(_line(source, value))
            found.keep(place, sorted(labels.get(name, {name})), value, [str(way) for way in ways])


def _documents(source: Source) -> Iterator[dict[str, Any]]:
    # Here, not above: PyYAML is of the extra `train`, and other formats do without.
    import yaml

    try:
        # The base loader makes strings alone: an intent `on` is no boolean.
        documents = yaml.load_all(source.text, yaml.BaseLoader)
        yield from (one for one in documents if isinstance(one, dict))
    except yaml.YAMLError as error:
        raise Misconfigured(f"{source.name}: no YAML that can be read: {error}") from error


def _line(source: Source, said: Any) -> int:
    """The first line that has it: YAML's plain reader tells no places."""
    return source.text.count("\n", 0, max(0, source.text.find(str(said)))) + 1


SNIPS_YAML = Format("snips-yaml", knows, read)
