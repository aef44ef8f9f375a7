"""MASSIVE: JSON lines whose spans stand inside a second copy of the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from infra.training.formats.format import Format
from infra.training.formats.found import Found, Span
from infra.training.formats.segments import joined
from infra.training.formats.source import SPLITS, Source

ANNOTATION = re.compile(r"\[\s*([^\[\]:]+?)\s*:\s*([^\[\]]*?)\s*\]")  # [label : what is said]
SURE = re.compile(r"\[ ?[\w.-]+ : [^\[\]]+\]")  # one that is no text, whatever the column is called


def knows(source: Source) -> bool:
    """Rows with annot_utt and an intent by its name."""
    return any("annot_utt" in line.body and not isinstance(line.body.get("intent"), int) for line in source.lines)


def read(sources: Sequence[Source], found: Found) -> None:
    """The text is `utt`; split and language are the row's."""
    for source in sources:
        for line in source.lines:
            place = source.at(line.number)
            with found.row(place):
                if line.fault:
                    raise ValueError(line.fault)
                take(place, line.body, line.body.get("intent"), source.split, found)


def take(place: str, row: Mapping[str, Any], intent: Any, split: str, found: Found) -> None:
    """One row of MASSIVE, its intent by name. Raises: ValueError, KeyError."""
    text, spans = annotated(row["annot_utt"])
    said = row.get("utt", text)
    if said != text:
        spans = _moved(text, spans, said)
        text = said
    split = SPLITS.get(str(row.get("partition", split)).lower(), "train")
    found.add(place, text, intent, spans, split, str(row.get("locale") or ""))


def annotated(marked: str) -> tuple[str, list[Span]]:
    """(text, spans) of `wake me at [time : nine]`. Raises: ValueError where a bracket is left over."""
    pieces: list[tuple[str, str]] = []
    at = 0
    for match in ANNOTATION.finditer(marked):
        pieces += [(marked[at : match.start()], ""), (match[2], match[1])]
        at = match.end()
    rest = [*pieces, (marked[at:], "")]
    if any("[" in text or "]" in text for text, label in rest if not label):
        raise ValueError("a bracket belongs to no [label : words]")
    return joined(rest)


def unmarked(text: Any, spans: list[Any], found: Found) -> tuple[Any, list[Any]]:
    """(text, spans as `record_of` reads them) of a row, which may have none beside a text that is marked, such as
    NLU-Evaluation-Data's. Raises: ValueError as of `annotated`.
    """
    if spans or not isinstance(text, str) or not SURE.search(text):
        return text, spans
    said, marked = annotated(text)
    found.notes["rows whose [label : words] are spans now"] += 1
    return said, [{"start": start, "end": end, "label": label} for start, end, label in marked]


def _moved(marked: str, spans: Sequence[Span], said: str) -> list[Span]:
    """The spans' places in `said`, which is the same text but for its blanks and letters' case. Raises: ValueError."""
    ours = [i for i, letter in enumerate(marked) if not letter.isspace()]
    theirs = [i for i, letter in enumerate(said) if not letter.isspace()]
    if [marked[i].casefold() for i in ours] != [said[i].casefold() for i in theirs]:
        raise ValueError("utt and annot_utt are not the same text")
    place = dict(zip(ours, theirs, strict=True))
    moved = []
    for start, end, label in spans:
        inside = [place[i] for i in range(start, end) if i in place]
        moved.append((inside[0], inside[-1] + 1, label))
    return moved


MASSIVE = Format("massive", knows, read)
