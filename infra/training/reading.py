"""Training data from files of any format that is known: what trains, what tunes, and what was wrong with the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from infra.counted import counted
from infra.training.checks import Finding, Tokens, check
from infra.training.examples import Example, listed
from infra.training.formats.found import SPLITS, Found, Options, Row
from infra.training.formats.registry import read
from infra.training.formats.synonyms import NAME as SYNONYMS
from topology.errors import Misconfigured
from topology.heads import are_synonyms

INSTEAD = {"train": ("train", "dev"), "dev": ("dev",), "test": ("test",)}  # of several splits, the first that is there
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".yml", ".yaml", ".zip", ".conll", ".bio", ".iob", ".lu",
            ".parquet")


@dataclass(frozen=True)
class TrainingData:
    """`dev` tunes: of a file of its own, or the data's own part. `synonyms`: label → value → ways to say it."""

    train: list[Example]
    dev: list[Example] | None = None
    test: list[Example] | None = None
    synonyms: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_training(
    data: Path | Sequence[Path | Example], languages: Sequence[str] = (), limit: Tokens | None = None,
    tune: Path | None = None, test: Path | None = None, options: Options | None = None,
) -> TrainingData:
    """What a head of a ring of these languages can be trained, tuned and tested on, and what was wrong with the rest.

    `data`: files, or examples. `options`: how files are read, those of `tune` and `test` included.

    Raises: Misconfigured, naming the bad rows, where more are bad than good or fewer than two are left.
    """
    given = [data] if isinstance(data, Path) else list(data)
    files, name = [one for one in given if isinstance(one, Path)], ", ".join(map(str, given))
    if files:
        found = found_in(files, options)
        train = rows_of(found, name, "train", languages)
    else:
        found = Found()
        train = [Row(f"labelled {i}", one) for i, one in enumerate(given, 1) if isinstance(one, Example)]
    parts = {"dev": found.of("dev", languages) if train[0].split == "train" else [], "test": list[Row]()}
    for split, place in (("dev", tune), ("test", test)):
        if place is not None:
            other = found if [place] == files else found_in([place], options)
            parts[split] = rows_of(other, str(place), split, languages, 1)
            if other is not found:
                found.refused += other.refused
                found.met |= other.met
    findings = check(found, train, [*parts["dev"], *parts["test"]], limit)
    notes = [f"{text}: {count:,}" for text, count in sorted(found.notes.items())]
    if found.synonyms:
        values = sum(map(len, found.synonyms.values()))
        notes.append(f"values that come along with their synonyms: {values:,}, of labels: {len(found.synonyms):,}")
    if (left := sum(row.split == train[0].split for row in found.rows) - len(train)) > 0:
        notes.append(f"rows in languages that are not asked for: {left:,} (asked for: {', '.join(languages)})")
    if len(found.splits) > 1:
        own = f", tunes on dev: {len(parts['dev']):,}" if parts["dev"] and tune is None else ""
        notes.insert(0, f"{name}: trains on {train[0].split}: {len(train):,}{own}")
    dev, tested = (_examples(rows) or None for rows in parts.values())
    return TrainingData(_examples(train), dev, tested, found.synonyms, findings, notes)


def tenants_in(folder: Path) -> list[Path]:
    """The files of a directory that holds one for each tenant."""
    files = (place for place in folder.iterdir() if place.suffix.lower() in SUFFIXES)
    return sorted(place for place in files if place.name != SYNONYMS and not place.name.endswith(f".{SYNONYMS}"))


def read_synonyms(place: Path) -> dict[str, dict[str, list[str]]]:
    """Label → value → ways to say it. Raises: Misconfigured, naming the file."""
    try:
        body = json.loads(place.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise Misconfigured(f"{place}: {error}") from error
    if not are_synonyms(body):
        raise Misconfigured(f"{place}: a map of labels to maps of values to lists of ways to say them is wanted")
    return dict(body)


def found_in(places: Sequence[Path], options: Options | None = None) -> Found:
    """Everything in files and directories, and in the synonyms that `data convert` wrote beside them.

    Raises: Misconfigured where more rows are refused than taken.
    """
    found = read([*places, *_beside(places)], options)
    if len(found.refused) > len(found.rows):
        lines = [f"{one.place}: {one.reason}" for one in found.refused]
        raise Misconfigured(f"{listed(lines)}\n{', '.join(map(str, places))}: {len(found.refused):,} of "
                            f"{counted(len(found.refused) + len(found.rows), 'row')} cannot be used")
    return found


def _beside(places: Sequence[Path]) -> list[Path]:
    """acme.synonyms.json of acme.jsonl, synonyms.json of train.jsonl: as `data convert` names them."""
    asked = [place.with_suffix(f".{SYNONYMS}") for place in places]
    asked += [place.with_name(SYNONYMS) for place in places if place.stem in SPLITS]
    return [place for place in dict.fromkeys(asked) if place.is_file() and place not in places]


def rows_of(found: Found, place: str, split: str, languages: Sequence[str] = (), least: int = 2) -> list[Row]:
    """The rows for a split. Raises: Misconfigured where there are fewer than `least`."""
    there = found.splits
    chosen = there[0] if len(there) == 1 else next((one for one in INSTEAD[split] if one in there), "")
    rows = found.of(chosen, languages)
    if not rows and found.of(chosen):
        raise Misconfigured(f"{place}: its rows are in {', '.join(found.languages)}, the ring is for "
                            f"{', '.join(languages)}")
    if not rows and there:
        raise Misconfigured(f"{place}: no {split} in it, only {', '.join(there)}")
    if len(rows) < least:
        faults = [f"{one.place}: {one.reason}" for one in found.refused]
        raise Misconfigured("\n".join([*([listed(faults)] if faults else []),
                                       f"{place}: {counted(len(rows), 'example is', 'examples are')} too few"]))
    return rows


def _examples(rows: Sequence[Row]) -> list[Example]:
    return [replace(row.example, source=row.place) for row in rows]
