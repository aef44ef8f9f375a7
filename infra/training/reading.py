"""Training data from files of any format that is known: what trains, what tunes, and what was wrong with the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.training.checks import Finding, Tokens, check
from infra.training.examples import Example, listed
from infra.training.formats.found import Found, Options, Row
from infra.training.formats.registry import read
from topology.errors import Misconfigured

INSTEAD = {"train": ("train", "dev"), "dev": ("dev",), "test": ("test",)}  # of several splits, the first that is there
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".yml", ".yaml", ".zip", ".conll", ".bio", ".iob")


@dataclass(frozen=True)
class TrainingData:
    """`dev`: the file's own held-out part, if it has one. `synonyms`: label → value → ways to say it."""

    train: list[Example]
    dev: list[Example] | None = None
    synonyms: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_training(place: Path, languages: Sequence[str] = (), read: Tokens | None = None) -> TrainingData:
    """What a head of a ring of these languages can be trained on. `read`: as of `check`.

    Raises: Misconfigured, naming the bad rows, where more are bad than good or two or fewer are left.
    """
    found = found_in(place)
    train = rows_of(found, place, "train", languages)
    dev = found.of("dev", languages) if train[0].split != "dev" else []
    findings = check(found, train, dev, read)
    notes = [f"{text}: {count:,}" for text, count in sorted(found.notes.items())]
    return TrainingData(_examples(train), _examples(dev) or None, found.synonyms, findings, notes)


def read_examples(place: Path, split: str = "train", languages: Sequence[str] = ()) -> list[Example]:
    """The examples of a file that hold for `split`: all of a file that has one split, whatever it is called.

    Raises: as `read_training`.
    """
    return _examples(rows_of(found_in(place), place, split, languages))


def found_in(place: Path, options: Options | None = None, name: str = "") -> Found:
    """Everything in a file or directory. Raises: Misconfigured where more rows are refused than taken."""
    found = read([place], options, name)
    if len(found.refused) > len(found.rows):
        lines = [f"{one.place}: {one.reason}" for one in found.refused]
        raise Misconfigured(f"{listed(lines)}\n{place}: {len(found.refused):,} of "
                            f"{len(found.refused) + len(found.rows):,} rows cannot be used")
    return found


def rows_of(found: Found, place: Path, split: str, languages: Sequence[str] = ()) -> list[Row]:
    """The rows for a split. Raises: Misconfigured where there is none, or fewer than two."""
    there = found.splits
    chosen = there[0] if len(there) == 1 else next((one for one in INSTEAD[split] if one in there), "")
    rows = found.of(chosen, languages)
    if not rows and found.of(chosen):
        raise Misconfigured(f"{place}: its rows are in {', '.join(found.languages)}, the ring is for "
                            f"{', '.join(languages)}")
    if not rows and there:
        raise Misconfigured(f"{place}: no {split} in it, only {', '.join(there)}")
    if len(rows) < 2:
        faults = [f"{one.place}: {one.reason}" for one in found.refused]
        raise Misconfigured("\n".join([*([listed(faults)] if faults else []),
                                       f"{place}: {len(rows)} examples are too few to train a head"]))
    return rows


def _examples(rows: Sequence[Row]) -> list[Example]:
    return [row.example for row in rows]
