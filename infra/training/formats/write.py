"""Rows as files of JSON lines: a file for each split, a directory for each language."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from infra.training.examples import line_of, write_jsonl
from infra.training.formats.found import SPLITS, Row

Parts = dict[tuple[str, str], list[Row]]


def parts_of(rows: Iterable[Row]) -> Parts:
    """The rows by split and language, splits in their order."""
    found: Parts = {}
    for row in rows:
        found.setdefault((row.split, row.language), []).append(row)
    return dict(sorted(found.items(), key=lambda item: (item[0][1], SPLITS.index(item[0][0]))))


def write_parts(
    parts: Parts, synonyms: Mapping[str, Mapping[str, list[str]]], folder: Path | None, one: Path | None
) -> list[Path]:
    """Write every part below `folder`, or the only one as the file `one` (`-`: the standard output);
    synonyms beside. Returns the files."""
    written: list[Path] = []
    several = len({language for _, language in parts}) > 1
    for (split, language), rows in parts.items():
        if str(one) == "-":
            print("\n".join(line_of(row.example) for row in rows))
            continue
        place = one or (folder or Path()) / (language if several else "") / f"{split}.jsonl"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl((row.example for row in rows), place)
        written.append(place)
    if synonyms and str(one) != "-":
        place = one.with_suffix(".synonyms.json") if one else (folder or Path()) / "synonyms.json"
        place.write_text(json.dumps(synonyms, ensure_ascii=False, indent=1), encoding="utf-8")
        written.append(place)
    return written
