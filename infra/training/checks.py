"""What is wrong with training data, row by row, and what it will cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from head_worker.decode import words_of
from infra.training.examples import OUT_OF_SCOPE, Entity
from infra.training.formats.found import LIKE_OUTSIDE, OUTSIDE, Found, Row, squeezed
from infra.training.offsets import UNITS, in_characters

FEW = 10  # examples of an intent, spans of a label: what README asks for
COSTS = {  # kind: (what it is, what it costs); in the order in which they are told
    "row": ("rows that cannot be used", "they are left out"),
    "offsets": ("rows whose offsets do not give the value", "they are left out; --offsets utf-16 or bytes reads such"),
    "overlap": ("rows whose spans overlap", "they are left out: a character has one label"),
    "two-intents": ("texts under two intents", "a head can be right on one of them only"),
    "part-of-word": ("spans that are not whole words", "heads return whole words: none of these can be found"),
    "shared-word": ("spans that share a word with another", "a word has one label: the later span is lost"),
    "too-long": ("texts beyond the token limit", "what is beyond is not read, and entities in it are lost"),
    "across-splits": ("texts both in training and in held-out data", "scores count what was learnt by heart"),
    "untaught": ("intents and labels that held-out data has, and training has not",
                 "such lines tune nothing, and a test counts them as mistakes"),
    "few-examples": (f"intents with fewer than {FEW} examples", "they are often mistaken, and a score tells little"),
    "few-spans": (f"labels with fewer than {FEW} spans", "they are often missed, and a score tells little"),
    "one-intent": ("only one intent","there is nothing to tell apart"),
    "named-outside": ("intents named as if they were out of scope", "they are learnt as intents; the name "
                      f"{OUT_OF_SCOPE} teaches what to refuse"),
}
NOTES = {  # that cost no row and no span
    "blanks": ("rows whose spans have blanks around", "the blanks are cut off"),
    "unmet-outside": ("names of --out-of-scope that no row's intent has", "nothing becomes out_of_scope by them"),
    "repeated": ("texts that stand there again", "they weigh more"),
}
NAMED_OUTSIDE = LIKE_OUTSIDE | {squeezed(name) for name in OUTSIDE}
Tokens = Callable[[Sequence[str]], list[int | None]]  # how many characters of each text are read; None: all


@dataclass(frozen=True)
class Finding:
    """`kind`: a key of COSTS or NOTES. `place`: a file and a line."""

    kind: str
    place: str
    what: str


def check(
    found: Found, train: Sequence[Row], held_out: Sequence[Row] = (), read: Tokens | None = None
) -> list[Finding]:
    """All findings, by kind and line. `held_out`: rows that `train` must not hold. `read`: the ring's token limit."""
    rows = [*train, *held_out]
    findings = [Finding(one.kind, one.place, one.reason) for one in found.refused]
    for row in rows:
        findings += _spans(row)
    findings += _twice(train)
    findings += _across(train, held_out)
    findings += [*_untaught(train, held_out), *_few(train)]
    findings += [Finding("unmet-outside", "--out-of-scope", f"no row has the intent {name!r}") for name in found.unmet]
    if read is not None:
        findings += _long(rows, read)
    findings += [Finding("blanks", place, "blanks around a span") for place in found.trimmed]
    order = [*COSTS, *NOTES]
    return sorted(findings, key=lambda one: order.index(one.kind))


def costly(findings: Iterable[Finding]) -> bool:
    """Whether anything costs rows, spans or the truth of a score."""
    return any(one.kind in COSTS for one in findings)


def told(findings: Sequence[Finding], shown: int | None = 3) -> Iterator[str]:
    """The findings for a terminal: each kind with its count and cost, then its first places (all with None)."""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for one in findings:
        by_kind[one.kind].append(one)
    for kind, ones in by_kind.items():
        what, cost = COSTS.get(kind) or NOTES[kind]
        yield f"{what}: {len(ones):,} ({cost})"
        yield from (f"  {one.place}: {one.what}" for one in ones[:shown])
        if shown is not None and len(ones) > shown:
            yield f"  … and {len(ones) - shown:,} more: headrace data check --all shows them"


def _words(text: str) -> list[tuple[int, int]]:
    """The words as heads see them, where each character is a token."""
    places = np.arange(len(text), dtype=np.int32)
    return [(start, end) for _, start, end in words_of(text, np.stack([places, places + 1], 1))]


def _spans(row: Row) -> Iterator[Finding]:
    text, entities = row.example.text, row.example.entities
    if not entities:
        return
    words = _words(text)
    owner: dict[tuple[int, int], Entity] = {}
    shared = set()
    for one in entities:
        for word in (word for word in words if word[0] < one.end and one.start < word[1]):
            if (before := owner.setdefault(word, one)) != one:
                shared |= {before, one}
                both = f"{_said(text, before)} and {_said(text, one)}"
                yield Finding("shared-word", row.place, f"{both} are parts of {text[slice(*word)]!r}")
    for one in entities:
        cut = [word for word in words if word[0] < one.start < word[1] or word[0] < one.end < word[1]]
        if cut and one not in shared:
            hint = _as_other_units(text, one, words)
            yield Finding("part-of-word", row.place, f"{_said(text, one)} cuts {text[slice(*cut[0])]!r}{hint}")


def _as_other_units(text: str, one: Entity, words: Sequence[tuple[int, int]]) -> str:
    """What the span would be if its places counted something else and gave whole words then."""
    begins, ends = {start for start, _ in words}, {end for _, end in words}
    for unit, name in UNITS.items():
        end = one.end
        while end <= len(text) and (end == one.end or text[end - 1].isspace()):  # blanks may have been cut off
            found = in_characters(text, one.start, end, unit)
            if found and found != (one.start, one.end) and found[0] in begins and found[1] in ends:
                return f"; {name} would fit: {text[slice(*found)]!r}"
            end += 1
    return ""


def _said(text: str, one: Entity) -> str:
    return f"{text[one.start : one.end]!r} ({one.label}, {one.start}..{one.end})"


def _key(row: Row) -> tuple[str, str]:
    """Rows alike but for case and blanks, in one language, are the same text."""
    return row.language.split("-")[0], " ".join(row.example.text.casefold().split())


def _twice(rows: Sequence[Row]) -> Iterator[Finding]:
    seen: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        seen[_key(row)][row.example.intent].append(row)
    for intents in seen.values():
        if len(intents) > 1:
            first, *others = (ones[0] for ones in intents.values())
            also = ", ".join(f"{row.example.intent} ({row.place})" for row in others)
            yield Finding("two-intents", first.place, f"{first.example.text!r} is {first.example.intent}, and {also}")
        for ones in intents.values():
            for row in ones[1:]:
                yield Finding("repeated", row.place, f"{row.example.text!r}, as in {ones[0].place}")


def _across(train: Sequence[Row], held_out: Sequence[Row]) -> Iterator[Finding]:
    known = {_key(row): row for row in reversed(train)}
    for row in held_out:
        if before := known.get(_key(row)):
            yield Finding("across-splits", row.place, f"{row.example.text!r} stands in training too: {before.place}")


def _untaught(train: Sequence[Row], held_out: Sequence[Row]) -> Iterator[Finding]:
    known = {OUT_OF_SCOPE}.union(*(_names(row) for row in train))
    told = dict[str, str]()
    for row in held_out:
        for name in sorted(_names(row) - known):
            told.setdefault(name, row.place)
    yield from (Finding("untaught", place, name) for name, place in told.items())


def _names(row: Row) -> set[str]:
    return {row.example.intent, *(f"label {one.label}" for one in row.example.entities)}


def _few(rows: Sequence[Row]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    intents = Counter(row.example.intent for row in rows)
    labels: Counter[str] = Counter()
    for row in rows:
        first.setdefault(row.example.intent, row.place)
        for one in row.example.entities:
            labels[one.label] += 1
            first.setdefault(f"label {one.label}", row.place)
    for intent, count in sorted(intents.items(), key=lambda item: item[1]):
        if count < FEW:
            yield Finding("few-examples", first[intent], f"{intent} has {count}")
        if intent != OUT_OF_SCOPE and squeezed(intent) in NAMED_OUTSIDE:
            yield Finding("named-outside", first[intent], f"{intent} has {count}")
    for label, count in sorted(labels.items(), key=lambda item: item[1]):
        if count < FEW:
            yield Finding("few-spans", first[f"label {label}"], f"{label} has {count}")
    if rows and len(set(intents) - {OUT_OF_SCOPE}) < 2:
        yield Finding("one-intent", rows[0].place, ", ".join(intents))


def _long(rows: Sequence[Row], read: Tokens) -> Iterator[Finding]:
    for row, end in zip(rows, read([row.example.text for row in rows]), strict=True):
        if end is not None:
            lost = [one.label for one in row.example.entities if one.end > end]
            more = f", and with the rest {', '.join(lost)}" if lost else ""
            yield Finding("too-long", row.place, f"of {len(row.example.text)} characters {end} are read{more}")
