"""CSV: with a header (ours, Banking77's and their like), or two columns without one (Watson, Lex)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence

from infra.training.examples import record_of
from infra.training.formats.columns import columns_of, plain, unknown
from infra.training.formats.format import Format
from infra.training.formats.found import Found, Row
from infra.training.formats.huggingface import ANY_INTENT, named, names_beside
from infra.training.formats.massive import unmarked
from infra.training.formats.source import SPLITS, Source

DELIMITERS = ",\t;|"
# What is a name and not an example, where a file has two columns of which only one is known.
SURE = {"text": {"text", "utterance", "utterances", "query", "sentence"},
        "intent": {"intent", "intent_name", "label", "category", "class"}}
LOOKED_AT = 50  # rows that tell the delimiter
MAX_ROW_LINES = 200  # a quote that is open for longer was not meant as one


def knows(source: Source) -> bool:
    """Rows of two columns or more, with one of the delimiters, and no JSON; and a name or a header that says so."""
    if source.text.lstrip()[:1] in ("{", "["):
        return False
    if _is_of_entities(source):
        return True
    if not (delimiter := _delimiter(source)):
        return False
    first = next(_rows(source, delimiter), (1, [], ""))[1]
    return source.inner.suffix.lower() in (".csv", ".tsv", ".txt") or _is_header(first)


def read(sources: Sequence[Source], found: Found) -> None:
    """Columns are known by the names in the first row; without such names a row is text, then intent."""
    for source in sources:
        if _is_of_entities(source):
            _values(source, found)
            continue
        delimiter = _delimiter(source)
        rows = _rows(source, delimiter)
        header = next(rows, (1, [], ""))[1]
        columns = _columns_of(header, source, found)
        if not columns:
            columns, rows = {"text": 0, "intent": 1}, _rows(source, delimiter)
        names, before = {**names_beside(source), **found.options.names}, len(found.rows)
        for number, cells, fault in rows:
            place = source.at(number)
            with found.row(place):
                if fault or len(cells) != len(header):
                    raise ValueError(fault or f"{len(cells)} columns where {len(header)} are wanted: a text that holds "
                                     f"{delimiter!r} stands in quotes")
                if "intent" in columns:
                    cells[columns["intent"]] = _named(cells[columns["intent"]].strip(),
                                                      header[columns["intent"]].strip(), names, found)
                _take(place, cells, columns, source, found)
        _doubt(header, found.rows[before:], found)


def _named(intent: str, column: str, names: Mapping[str, list[str]], found: Found) -> str:
    if intent.isdecimal():
        if names.get(column) or names.get(ANY_INTENT):
            return named(int(intent), column, dict(names))
        found.notes["rows whose intent is a number; --names FILE says what it means"] += 1
    return intent


def _doubt(header: Sequence[str], rows: Sequence[Row], found: Found) -> None:
    """Tell of a first row without a name that is known, whose intent no other row has: it may be a header."""
    if len(rows) > 2 and rows[0].example.text == header[0] and all(
        row.example.intent != rows[0].example.intent for row in rows[1:]
    ):
        found.notes[f"first rows taken for an example, as {', '.join(map(repr, header))} are no names of columns that "
                    "are known; if they are names: --text COLUMN and --intent COLUMN"] += 1


def header_of(source: Source) -> list[str]:
    """The cells of the first row; none where the file is no table."""
    delimiter = _delimiter(source)
    return [cell.strip() for cell in next(_rows(source, delimiter), (1, [], ""))[1]] if delimiter else []


def _columns_of(header: Sequence[str], source: Source, found: Found) -> dict[str, int]:
    """What each column is for; empty where the first row is no header. Raises: Misconfigured."""
    columns = columns_of(header, found.options.columns)
    needed = {"text"} if found.options.intent else {"text", "intent"}
    if needed <= set(columns):
        return columns
    if len(header) == 2 and not found.options.columns:
        one = next((kind for kind, at in columns.items() if plain(header[at]) in SURE.get(kind, ())), "")
        if not one:
            return {}
        other = "intent" if one == "text" else "text"
        kinds = {one: columns[one], other: 1 - columns[one]}
        found.notes[f"files whose {header[kinds[other]].strip()!r} is taken for the {other}"] += 1
        return kinds
    raise unknown(source.at(1), (cell.strip() for cell in header), sorted(needed - set(columns), reverse=True))


def _is_of_entities(source: Source) -> bool:
    """Watson's entities.csv: entity, value, ways to say it, a row as long as it needs."""
    name = source.inner.name.lower()
    return name.endswith(".csv") and "entities" in name and not _is_header(next(_rows(source, ","), (1, [], ""))[1])


def _values(source: Source, found: Found) -> None:
    for number, (name, *said), _ in _rows(source, ","):
        words = [word.strip() for word in said if word.strip()]
        found.listed.add(name.strip())
        if len(words) > 1 and words[1].startswith("/"):
            found.notes[f"regular expressions that are not used here ({name.strip()})"] += 1
        elif words:
            found.keep(source.at(number), [name.strip()], words[0], words[1:])


def _take(place: str, cells: Sequence[str], columns: dict[str, int], source: Source, found: Found) -> None:
    def cell(name: str) -> str:
        return cells[columns[name]].strip() if name in columns else ""

    try:
        entities = json.loads(cell("entities") or "[]")
    except ValueError as error:
        raise ValueError(f"the column of entities is no JSON list: {error}") from error
    text, entities = unmarked(cells[columns["text"]], entities, found)
    body = {"text": text, "intent": found.scoped(cell("intent")), "entities": entities}
    one = record_of(body, found.options.offsets or "characters")
    split = SPLITS.get(cell("split").lower(), source.split)
    found.take(Row(place, one.example, split, cell("language") or source.language), one.trimmed)
    for label, value, way in one.meant:
        found.mean(label, value, way)


def _is_header(cells: Sequence[str]) -> bool:
    return {"text", "intent"} <= set(columns_of(cells, {}))


def _delimiter(source: Source) -> str:
    """The one that parts the first rows into the same number of columns most often; empty where none parts them."""
    best, most = "", 0
    for delimiter in DELIMITERS:
        widths = [len(cells) for (_, cells, _), _ in zip(_rows(source, delimiter), range(LOOKED_AT), strict=False)]
        same = max((widths.count(width) for width in set(widths) if width > 1), default=0)
        if same * 2 >= len(widths) and same > most:
            best, most = delimiter, same
    return best


def _rows(source: Source, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """(the line it begins on, cells, what is wrong with it) of every row that is not blank. Newlines in quotes stay.

    A quote that is never closed costs its own line alone: no row is longer than MAX_ROW_LINES.
    """
    lines = io.StringIO(source.text, newline="").readlines()
    at, limit = 0, csv.field_size_limit(1 << 20)  # the process's own, which others read by
    try:
        while at < len(lines):
            cells, used, fault = _row(lines[at : at + MAX_ROW_LINES], delimiter)
            if any(cell.strip() for cell in cells):
                yield at + 1, cells, fault
            at += used
    finally:
        csv.field_size_limit(limit)


def _row(lines: Sequence[str], delimiter: str) -> tuple[list[str], int, str]:
    """(cells, how many lines they take, what is wrong with them) of the row that begins with the first line."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        return next(reader), reader.line_num, ""
    except csv.Error as error:
        # As it stands: `"hi" there,greet` was written by hand. A quote alone is one that is not closed.
        cells = next(csv.reader(lines[:1], delimiter=delimiter, quoting=csv.QUOTE_NONE))
        return cells, 1, f"a quote is not closed: {error}" if any(cell.count('"') % 2 for cell in cells) else ""


TABLE = Format("csv", knows, read)
