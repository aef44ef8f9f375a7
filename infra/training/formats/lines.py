"""Headrace's own JSON lines, and JSON lists of the same maps."""

from __future__ import annotations

from collections.abc import Sequence

from infra.training.examples import record_of
from infra.training.formats.format import Format
from infra.training.formats.found import Found, Row
from infra.training.formats.source import SPLITS, Source


def knows(source: Source) -> bool:
    """Rows with a text and an intent."""
    return any("text" in line.body and isinstance(line.body.get("intent"), str) for line in source.lines)


def read(sources: Sequence[Source], found: Found) -> None:
    """A `value` that the text does not say is kept as a synonym; `split` and `language` of a row are heeded."""
    for source in sources:
        for line in source.lines:
            place = source.at(line.number)
            with found.row(place):
                if line.fault:
                    raise ValueError(line.fault)
                body = {**line.body, "intent": found.unnamed(line.body.get("intent"))}
                one = record_of(body, found.options.offsets or "characters")
                split = SPLITS.get(str(line.body.get("split", "")).lower(), source.split)
                language = str(line.body.get("language") or line.body.get("lang") or source.language)
                found.take(Row(place, one.example, split, language), one.trimmed)
                for label, value, way in one.meant:
                    found.mean(label, value, way)


LINES = Format("headrace", knows, read)
