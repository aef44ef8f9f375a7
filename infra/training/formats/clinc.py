"""CLINC150: pairs of text and intent by split; the splits oos_* hold what is out of scope."""

from __future__ import annotations

from collections.abc import Sequence

from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.placed_json import line_of
from infra.training.formats.source import SPLITS, Source


def knows(source: Source) -> bool:
    """A map of splits to lists of pairs."""
    body = source.document
    return isinstance(body, dict) and any(
        _split(name) and isinstance(rows, list) and any(isinstance(one, list) and len(one) == 2 for one in rows)
        for name, rows in body.items()
    )


def read(sources: Sequence[Source], found: Found) -> None:
    """`oos` becomes `out_of_scope`."""
    for source in sources:
        for name, rows in source.document.items():
            if not _split(name) or not isinstance(rows, list):
                found.notes[f"parts left out that are no split ({name})"] += 1
                continue
            for number, pair in enumerate(rows, 1):
                place = source.at(line_of(pair), f"{name} {number}")
                with found.row(place):
                    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
                        raise ValueError("a pair of text and intent is wanted")
                    found.add(place, pair[0], pair[1], (), _split(name))


def _split(name: str) -> str:
    return SPLITS.get(name.lower().removeprefix("oos_").removeprefix("ood_"), "")


CLINC = Format("clinc", knows, read)
