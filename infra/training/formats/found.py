"""What was found in files: rows by split and language, rows that were refused, words for the same thing, and notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from infra.training.examples import OUT_OF_SCOPE, Entity, Example, RowFault, checked

OUTSIDE = {  # how other tools name the intent of what belongs to none; compared without case
    "oos", "ood", "out_of_scope", "out-of-scope", "outofscope", "out_of_domain", "nlu_fallback", "fallbackintent",
    "amazon.fallbackintent", "default fallback intent",
}
LIKE_OUTSIDE = {"none", "noneofthese", "noneofthem", "noneoftheabove", "fallback", "defaultfallback"}  # `squeezed`
CODE = re.compile(r"^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*$")  # of a language
SPLITS = ("train", "dev", "test")
TRAIN = SPLITS[0]  # the split of exports whose files are named by their intents: one may be called `Test Drive`
UNNAMED = "unlabelled"  # the intent where a format gives entities alone
Span = tuple[int, int, str]  # start, end (exclusive), label


def squeezed(name: str) -> str:
    """An intent's name without case, blanks, dashes and underscores."""
    return re.sub(r"[\s_-]+", "", name.casefold())


@dataclass(frozen=True)
class Options:
    """How to read. `encoding`: of files that are not UTF-8; `intent`: of rows without one; `names`: of labels that are
    numbers, by column (of `read_names`); `offsets`: what a span's places count; `outside`: more names of the intent
    that stands for none; `format`: of all files, where content is not to tell."""

    encoding: str = ""
    intent: str = ""
    names: dict[str, list[str]] = field(default_factory=dict)
    offsets: str = ""
    outside: tuple[str, ...] = ()
    format: str = ""
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """An example, where it stood, and what it is for: train, dev or test. `language`: empty where none was told."""

    place: str
    example: Example
    split: str = "train"
    language: str = ""


@dataclass(frozen=True)
class Refused:
    """A row that was left out, and why."""

    place: str
    reason: str
    kind: str = "row"  # as of `RowFault`


class Found:
    """Collects what the formats read. `synonyms`: label → value → ways to say it, as `head train --synonyms` reads;
    `listed`: the labels that the file's own tool finds by their values alone."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.formats: list[str] = []
        self.rows: list[Row] = []
        self.refused: list[Refused] = []
        self.trimmed: list[str] = []  # places of rows whose spans had blanks around, which were cut off
        self.synonyms: dict[str, dict[str, list[str]]] = {}
        self.listed: set[str] = set()
        self.notes: Counter[str] = Counter()
        self.met: set[str] = set()  # names of the intent that stands for none, which rows had; without case
        self._outside = OUTSIDE | {name.casefold() for name in self.options.outside}

    @contextmanager
    def row(self, place: str) -> Iterator[None]:
        """What is read within is one row: a mistake in it costs itself alone."""
        try:
            yield
        except KeyError as error:
            self.refused.append(Refused(place, f"{error} is missing"))
        except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
            kind = error.kind if isinstance(error, RowFault) else "row"
            self.refused.append(Refused(place, str(error) or type(error).__name__, kind))

    def add(
        self, place: str, text: str, intent: str | None, spans: Iterable[Span] = (), split: str = "train",
        language: str = "",
    ) -> None:
        """Take a row. Raises: ValueError where it cannot be an example."""
        example, trimmed = checked(text, self.scoped(intent), [Entity(*span) for span in spans])
        self.take(Row(place, example, split, language), trimmed)

    def take(self, row: Row, trimmed: int = 0) -> None:
        """Take a row that is checked already. A language that is no code, such as `English`, is not heeded."""
        self.rows.append(replace(row, language=row.language.replace("_", "-") if CODE.match(row.language) else ""))
        if trimmed:
            self.trimmed.append(row.place)

    def scoped(self, intent: str | None) -> str | None:
        """The intent, or `out_of_scope` for its names in other tools; what `--intent` says where there is none."""
        if intent is None or (isinstance(intent, str) and not intent.strip()):
            if self.options.intent:
                self.notes[f"rows without an intent, which have {self.options.intent!r} now"] += 1
            return self.options.intent or None
        # Rasa's out_of_scope/other is a kind of out_of_scope.
        return self._renamed(intent, intent.partition("/")[0], self._outside) if isinstance(intent, str) else intent

    def or_unnamed(self, intent: str | None) -> str | None:
        """The intent; `unlabelled` where there is none, in a format of entities, and `--intent` gives none either."""
        if intent or self.options.intent:
            return intent
        self.notes[f"rows without an intent, which have {UNNAMED!r} now (--intent names another)"] += 1
        return UNNAMED

    def unnamed(self, intent: str | None) -> str | None:
        """The intent, `out_of_scope` where `--out-of-scope` names it."""
        names = {name.casefold() for name in self.options.outside}
        return self._renamed(intent, intent, names) if isinstance(intent, str) else intent

    def _renamed(self, intent: str, name: str, names: set[str]) -> str:
        name = name.strip().casefold()
        self.met |= {name} & names
        return OUT_OF_SCOPE if name in names else intent

    @property
    def unmet(self) -> list[str]:
        """Names of `--out-of-scope` that no row's intent has. Formats know some by themselves, as LUIS knows None."""
        some = any(row.example.intent == OUT_OF_SCOPE for row in self.rows)
        known = self.met.union(("none", *OUTSIDE) if some else ())
        return [name for name in self.options.outside if name.casefold() not in known]

    def mean(self, label: str, value: str, way: str = "") -> None:
        """Keep that `way` is said for `value` of this label; without one, that the label has such a value."""
        ways = self.synonyms.setdefault(label, {}).setdefault(value, [])
        if way and way.casefold() != value.casefold() and way not in ways:
            ways.append(way)

    def keep(self, place: str, labels: Iterable[str], value: Any, ways: Any = ()) -> None:
        """Keep a value of these labels and the ways to say it. What is no string is refused, by its place."""
        with self.row(place):
            if not isinstance(value, str | int | float) or not all(isinstance(way, str) for way in ways):
                raise ValueError("a value and a list of ways to say it are wanted")
            for label in labels:
                for way in ("", *ways):
                    self.mean(label, str(value), way)

    def settle(self) -> None:
        """Leave out values that are ways to say another value of their label, as a lookup's may be by a synonym."""
        for values in self.synonyms.values():
            ways = {way.casefold() for others in values.values() for way in others}
            for value in [one for one, others in values.items() if not others and one.casefold() in ways]:
                del values[value]

    def of(self, split: str, languages: Iterable[str] = ()) -> list[Row]:
        """The rows of a split, in these languages (`de` is also `de-AT`); rows that tell no language are in each."""
        wanted = {one.split("-")[0].lower() for one in languages}
        return [row for row in self.rows if row.split == split
                and (not wanted or not row.language or row.language.split("-")[0].lower() in wanted)]

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that have rows, in order."""
        there = {row.split for row in self.rows}
        return tuple(split for split in SPLITS if split in there)

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that rows tell, in order of the alphabet."""
        return tuple(sorted({row.language for row in self.rows if row.language}))
