"""What people mark in annotation tools: doccano's and Prodigy's JSON lines, and spaCy's training data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.training.formats.columns import INTENTS
from infra.training.formats.format import Format
from infra.training.formats.found import Found, Span
from infra.training.formats.placed_json import items, line_of
from infra.training.formats.placing import said_at
from infra.training.formats.source import Source

REFUSED = ("reject", "ignore")  # Prodigy's answers that teach nothing here
LIKELY = 0.5  # a category of spaCy counts from here on


def _is_span(one: Any) -> bool:
    return isinstance(one, list) and len(one) >= 3 and type(one[0]) is int and isinstance(one[2], str)


def knows_doccano(source: Source) -> bool:
    """Lines with [start, end, label], with start_offset, with `cats`, or with lists of labels and comments."""
    return any(isinstance(_text(row), str) and "tokens" not in row and (
        "cats" in row or any(_is_span(mark) or (isinstance(mark, dict) and "start_offset" in mark)
                             for key in ("label", "labels", "entities") for mark in items(row.get(key)))
        or (isinstance(row.get("label"), list) and bool({"Comments", "comments", "id"} & set(row)))
    ) for row in (line.body for line in source.lines))


def _text(row: Mapping[str, Any]) -> Any:
    return row.get("text", row.get("data"))  # data: of some versions


def read_doccano(sources: Sequence[Source], found: Found) -> None:
    """`cats`, or labels that are no spans, are the intent."""
    for source in sources:
        for line in source.lines:
            with found.row(place := source.at(line.number)):
                _check(line.fault)
                row, text = line.body, _text(line.body)
                marks = [mark for key in ("label", "labels", "entities") for mark in items(row.get(key))]
                names = [mark for mark in marks if isinstance(mark, str)]
                intent = row.get("cats") or names or next((row[key] for key in INTENTS if isinstance(
                    row.get(key), str)), None)
                spans = list(_spans(text, [mark for mark in marks if not isinstance(mark, str)], found))
                found.add(place, text, found.or_unnamed(_one(intent)), spans, source.split, str(row.get("lang") or ""))


def knows_prodigy(source: Source) -> bool:
    """Lines with Prodigy's hashes or answers."""
    return any("text" in line.body and ({"_input_hash", "_task_hash"} & set(line.body) or (
        line.body.get("answer") in ("accept", *REFUSED))) for line in source.lines)


def read_prodigy(sources: Sequence[Source], found: Found) -> None:
    """Choices that were accepted, or a label, are the intent; what was rejected or ignored is left out."""
    for source in sources:
        for line in source.lines:
            with found.row(place := source.at(line.number)):
                _check(line.fault)
                row = line.body
                if row.get("answer", "accept") != "accept":
                    found.notes["rows left out that people rejected or ignored"] += 1
                    continue
                intent = found.or_unnamed(_one(row.get("accept") or row.get("label") or row.get("cats")))
                spans = list(_spans(row["text"], row.get("spans"), found))
                found.add(place, row["text"], intent, spans, source.split)


def knows_spacy(source: Source) -> bool:
    """Pairs of a text and its `entities` or `cats`, in a list or below `annotations`."""
    return any(isinstance(one[1], dict) and bool({"entities", "cats"} & set(one[1])) for one in _pairs(source))


def read_spacy(sources: Sequence[Source], found: Found) -> None:
    """The category that is the likeliest is the intent."""
    for source in sources:
        for number, (text, marked) in enumerate(_pairs(source), 1):
            place = source.at(line_of(marked), f"{number}")
            with found.row(place):
                spans = list(_spans(text, marked.get("entities"), found))
                found.add(place, text, found.or_unnamed(_one(marked.get("cats"))), spans, source.split)


def _pairs(source: Source) -> list[list[Any]]:
    body = source.document
    rows = items(body.get("annotations") if isinstance(body, dict) else body)
    return [one for one in rows if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str)]


def _check(fault: str) -> None:
    if fault:
        raise ValueError(fault)


def _one(value: Any) -> str | None:
    """The intent that is meant. Raises: ValueError where several are."""
    if isinstance(value, dict):  # of spaCy: category → how likely
        value = [name for name, share in value.items() if isinstance(share, int | float) and share >= LIKELY]
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"one intent is wanted, not {len(value)}: {', '.join(map(str, value))}")
        value = value[0] if value else None
    return None if value is None else str(value)


def _spans(text: str, marks: Any, found: Found) -> Iterator[Span]:
    """Those of [start, end, label], and of maps as doccano and Prodigy have them. Characters are counted."""
    for one in items(marks):
        if isinstance(one, dict):
            start, end = one.get("start_offset", one.get("start")), one.get("end_offset", one.get("end"))
            label, said = one["label"], one.get("text")
        else:
            (start, end, label), said = one[:3], None
        unit = found.options.offsets or ("" if said else "characters")
        yield *said_at(text, start, end, said, unit), str(label)


DOCCANO = Format("doccano", knows_doccano, read_doccano)
PRODIGY = Format("prodigy", knows_prodigy, read_prodigy)
SPACY = Format("spacy", knows_spacy, read_spacy)
